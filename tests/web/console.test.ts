import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect } from "chai";
import { dist, findBarriers, setUpBed } from "./console-bed.ts";

const firstLoadBytes = 100 * 1024;

describe("the console", function () {
  this.timeout(60_000);
  const bed = setUpBed();

  const screens: [string, () => string, string[]][] = [
    ["jobs", () => "/", ["npm ci && npm test", "running", "failed", "cancelled"]],
    ["a new job", () => "/jobs/new", ["What is to be done", "Isolation, at least"]],
    [
      "a running job",
      () => `/jobs/${bed().demo.running}`,
      ["npm ci && npm test", "build-1", "live"],
    ],
    [
      "a failed job",
      () => `/jobs/${bed().demo.failed}`,
      ["EXIT_STATUS", "reports/junit.xml", "complete"],
    ],
    [
      "an agent’s report",
      () => `/jobs/${bed().demo.agent}?tab=report`,
      ["18,204", "src/parser.ts", "passed"],
    ],
    [
      "a job’s events",
      () => `/jobs/${bed().demo.agent}?tab=events`,
      ["agent.step", "80 % of the tokens are used"],
    ],
    ["context", () => "/context?q=retries", ["retry.ts:14–29", "keyword #1", "meaning #2"]],
    ["a degraded search", () => "/context?q=keyword", ["the embedder is loading its model"]],
    ["models", () => "/models", ["qwen2.5-coder:7b", "no key: set OPENAI_API_KEY_FILE"]],
    ["runners", () => "/runners", ["build-1", "Add the user to the group kvm."]],
    ["audit", () => "/audit", ["token.create", "WRONG_STATE"]],
    ["health", () => "/system", ["index version 3", "not ready", "localLLMPreferred"]],
    ["no such job", () => "/jobs/job_none", ["there is no job job_none"]],
    ["no such screen", () => "/nowhere", ["no screen at this address"]],
  ];
  for (const [name, path, texts] of screens) {
    for (const colorScheme of ["light", "dark"] as const) {
      it(`shows ${name} without barriers, ${colorScheme}`, async () => {
        const { page, fake } = bed();
        await page.emulateMedia({ colorScheme });
        await page.goto(fake.url + path());
        for (const text of texts) await page.getByText(text).first().waitFor();
        expect(await findBarriers(page)).to.deep.equal([]);
      });
    }
  }

  it("loads at most 100 KB", async () => {
    const files = readdirSync(join(dist, "assets")).map((file) => join(dist, "assets", file));
    const sizes = [join(dist, "index.html"), ...files].map(
      (file) => gzipSync(readFileSync(file)).length,
    );
    expect(sizes.reduce((sum, size) => sum + size, 0)).to.be.at.most(firstLoadBytes);
  });

  it("filters the list by the address, and the address by the list", async () => {
    const { page, fake } = bed();
    await page.goto(`${fake.url}/jobs?status=failed`);
    await page.getByText("npm test -- --grep parser").waitFor();
    expect(await page.locator("tbody tr").count()).to.equal(1);
    await page.getByRole("navigation", { name: "Status" }).getByText("running").click();
    await page.getByText("npm ci && npm test").waitFor();
    expect(new URL(page.url()).search).to.equal("?status=running");
    await page.goBack();
    await page.getByText("npm test -- --grep parser").waitFor();
    await page.getByLabel("Type").selectOption("agent");
    await page.getByText("No job matches this filter.").waitFor();
  });

  it("pages through a long list", async () => {
    const { page, fake } = bed();
    for (let i = 0; i < 60; i++)
      fake.jobs.accept({ work: { case: "command", value: { argv: [`job-${i}`] } } });
    await page.goto(fake.url);
    await page.getByText("job-59").waitFor();
    expect(await page.locator("tbody tr").count()).to.equal(50);
    await page.getByRole("link", { name: "Older" }).click();
    await page.getByText("job-0", { exact: true }).waitFor();
    await page.getByRole("link", { name: "Newest" }).click();
    await page.getByText("job-59").waitFor();
  });

  it("hands in a job and shows its log", async () => {
    const { page, fake } = bed();
    await page.goto(fake.url);
    await page.getByRole("link", { name: "New job" }).click();
    await page.getByLabel("Command", { exact: true }).fill("echo hello from the console");
    await page.getByLabel("Isolation, at least").selectOption("container");
    await page.getByRole("button", { name: "Start the job" }).click();
    await page.getByRole("log").getByText("hello from the console").waitFor();
    await page.getByRole("heading").getByText("succeeded").waitFor();
    const spec = fake.jobs.all()[0]?.job.spec;
    expect(spec?.isolation).to.equal(2);
  });

  it("hands an agent its task", async () => {
    const { page, fake } = bed();
    await page.goto(`${fake.url}/jobs/new`);
    await page.getByLabel("Give the coding agent a task").check();
    await page.getByRole("button", { name: "Start the job" }).click();
    await page.getByText("Say what the agent shall do.").waitFor();
    await page.getByLabel("Task", { exact: true }).fill("Fix the parser.");
    await page.getByLabel("Command that proves it done").fill("npm test");
    await page.getByRole("button", { name: "Start the job" }).click();
    await page.getByText("The job is queued.").waitFor();
    const work = fake.jobs.all()[0]?.job.spec?.work;
    expect(work?.case === "agent" && work.value.testArgv).to.deep.equal(["npm", "test"]);
  });

  it("cancels and retries", async () => {
    const { page, fake, demo } = bed();
    await page.goto(`${fake.url}/jobs/${demo.running}`);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("heading").getByText("cancelled").waitFor();
    await page.getByRole("button", { name: "Retry" }).click();
    await page.getByText("The job is queued.").waitFor();
    expect(page.url()).not.to.contain(demo.running);
  });

  it("comes back by itself when it was opened while the backend was away", async () => {
    const { page, fake } = bed();
    await page.goto(fake.url);
    await page.getByText("npm ci && npm test").waitFor();
    await fake.stop();
    await page.getByRole("link", { name: "Models" }).click();
    await page.getByText(/does not answer;/).waitFor();
    await fake.start();
    await page.getByText("qwen2.5-coder:7b").first().waitFor();
  });

  it("streams an answer from where the flags and the user want it", async () => {
    const { page, fake } = bed();
    await page.goto(`${fake.url}/models`);
    const box = page.getByRole("region", { name: "Ask a model" });
    await box.getByLabel("Question").fill("What is an epoch?");
    await box.getByRole("button", { name: "Ask" }).click();
    await box.getByText("old ones are fenced.").waitFor();
    await box.getByText("12 tokens in, 24 out").waitFor();
    await box.getByLabel("Where").selectOption("local");
    await box.getByRole("button", { name: "Ask" }).click();
    await box.getByText("under local-only").waitFor();
    expect(fake.asked).to.deep.equal(["local-first", "local-only"]);
  });

  it("is reached by keyboard alone", async () => {
    const { page, fake, demo } = bed();
    await page.goto(`${fake.url}/jobs/${demo.failed}`);
    await page.getByText("complete").waitFor();
    await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
    const wanted = new Set([
      "Skip to the content",
      "Jobs",
      "Health",
      "Retry",
      "Log",
      "Events",
      "Go to line",
      "Find",
      "Wrap",
      "Times",
      "Copy the whole log",
      "Download the raw log",
      `Log of job ${demo.failed}`,
      "Copy the id",
      "Download reports/junit.xml13 B",
    ]);
    for (let presses = 0; wanted.size > 0 && presses < 60; presses++) {
      await page.keyboard.press("Tab");
      const name = await page.evaluate(() => {
        const element = document.activeElement;
        if (element === null || element === document.body) return "";
        return element.getAttribute("aria-label") ?? element.textContent?.trim() ?? "";
      });
      wanted.delete(name);
      if (name === "") continue;
      const outline = await page.evaluate(() => {
        const element = document.activeElement;
        return element === null ? "none" : getComputedStyle(element).outlineStyle;
      });
      expect(outline, name).to.not.equal("none");
    }
    expect([...wanted]).to.deep.equal([]);
  });

  it("moves the focus to the heading of the next screen", async () => {
    const { page, fake } = bed();
    await page.goto(fake.url);
    await page.getByText("npm ci && npm test").waitFor();
    await page.getByRole("link", { name: "Runners" }).press("Enter");
    await page.locator("h1:focus").getByText("Runners").waitFor();
    expect(await page.title()).to.equal("Runners · devmesh");
  });
});

describe("signing in to the console", function () {
  this.timeout(60_000);
  const bed = setUpBed({ needsToken: true });

  it("turns a link into a token once, and cleans the address", async () => {
    const { page, fake } = bed();
    fake.links.add("once");
    await page.goto(`${fake.url}/#link=once`);
    await page.getByText("npm ci && npm test").waitFor();
    expect(new URL(page.url()).hash).to.equal("");
    await page.reload();
    await page.getByText("npm ci && npm test").waitFor();
    await page.getByText("npm ci && npm test").click();
    await page.getByText("live", { exact: true }).waitFor();
  });

  it("says how to get in, takes a token, and signs out", async () => {
    const { page, fake } = bed();
    await page.goto(`${fake.url}/#link=used`);
    await page.getByText("The link did not work").waitFor();
    await page.getByText("devmesh console").first().waitFor();
    expect(await findBarriers(page)).to.deep.equal([]);
    await page.getByLabel("Token").fill("wrong");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("That token is not valid.").waitFor();
    await page.getByLabel("Token").fill(fake.secret);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("npm ci && npm test").waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
  });
});
