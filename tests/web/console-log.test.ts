import { readFileSync } from "node:fs";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import { setUpBed } from "./console-bed.ts";
import { numbers } from "./fake/fake-jobs.ts";

describe("the console's live log", function () {
  this.timeout(60_000);
  const bed = setUpBed();

  it("says that the backend is away, and has every line once when it is back", async () => {
    const { context, page, fake } = bed();
    const { id } = fake.jobs.accept({ work: { case: "command", value: { argv: ["count"] } } }).job;
    fake.jobs.start(id);
    fake.jobs.log(id, numbers(1, 500));
    await page.goto(`${fake.url}/jobs/${id}`);
    await page.getByText("500", { exact: true }).first().waitFor();
    await fake.stop();
    await page
      .getByText(/The backend at http.* does not answer; (trying again in \d+ s|trying now)/)
      .waitFor();
    await page.getByText("may be out of date").waitFor();
    fake.jobs.log(id, numbers(501, 900));
    await fake.start();
    await page.getByText("900 lines").waitFor();
    await page.locator(".banner").waitFor({ state: "detached" });
    fake.stream.cut();
    fake.jobs.log(id, numbers(901, 1_000));
    fake.jobs.finish(id, { outcome: JobStatus.SUCCEEDED, exitCode: 0 });
    await page.getByText("1,000 lines").waitFor();
    await page.getByText("complete").waitFor();
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.getByRole("button", { name: "Copy the whole log" }).click();
    await page.getByText("Copied").waitFor();
    const text = await page.evaluate(() => navigator.clipboard.readText());
    expect(`${text}\n`).to.equal(numbers(1, 1_000));
  });

  it("opens a log of 100,000 lines, scrolls it, and counts exactly", async () => {
    const { page, fake } = bed();
    const { id } = fake.jobs.accept({ work: { case: "command", value: { argv: ["seq"] } } }).job;
    fake.jobs.start(id);
    fake.jobs.log(id, numbers(1, 100_000));
    fake.jobs.finish(id, { outcome: JobStatus.SUCCEEDED, exitCode: 0 });
    await page.goto(`${fake.url}/jobs/${id}`);
    await page.getByText("100,000 lines").waitFor();
    const row = (text: string) => page.getByRole("log").getByText(text, { exact: true });
    await row("100000").waitFor();
    expect(await page.locator(".log-row").count()).to.be.below(120);
    await page.getByRole("log").press("Home");
    await row("1").waitFor();
    await page.getByRole("button", { name: "Follow the end" }).waitFor();
    await page.keyboard.press("Control+f");
    await page.keyboard.type("77");
    // As a program counts them: occurrences, not lines.
    const expected = (numbers(1, 100_000).match(/77/g) ?? []).length;
    await page.getByText(`1 of ${expected.toLocaleString("en")}`, { exact: true }).waitFor();
    await page.locator("mark.current").getByText("77").waitFor();
    await page.keyboard.press("Shift+Enter");
    await page
      .getByText(`${expected.toLocaleString("en")} of ${expected.toLocaleString("en")}`)
      .waitFor();
    await row("99977").waitFor();
    await page.keyboard.press("Escape");
    await page.getByLabel("Go to line").fill("50000");
    await page.keyboard.press("Enter");
    await row("50000").waitFor();
    expect(new URL(page.url()).hash).to.equal("#L50000");
  });

  it("opens a permalink at its line", async () => {
    const { page, fake } = bed();
    const { id } = fake.jobs.accept({ work: { case: "command", value: { argv: ["seq"] } } }).job;
    fake.jobs.start(id);
    fake.jobs.log(id, numbers(1, 5_000));
    await page.goto(`${fake.url}/jobs/${id}#L1234`);
    await page.locator(".log-row.selected").getByText("1234", { exact: true }).waitFor();
    fake.jobs.log(id, numbers(5_001, 5_010));
    await page.getByRole("button", { name: "10 new lines" }).click();
    await page.getByRole("log").getByText("5010", { exact: true }).waitFor();
  });

  it("draws colours, progress lines and cut characters as a terminal does", async () => {
    const { page, fake } = bed();
    const { id } = fake.jobs.accept({ work: { case: "command", value: { argv: ["demo"] } } }).job;
    fake.jobs.start(id);
    fake.jobs.log(id, "10 %\r55 %");
    fake.jobs.log(id, "\r100 %\n\x1b[1;38;2;200;30;30mred\x1b[0m <b>not bold</b>\n");
    const rocket = new TextEncoder().encode("🚀 done\n");
    fake.jobs.log(id, rocket.slice(0, 2));
    fake.jobs.log(id, rocket.slice(2));
    await page.goto(`${fake.url}/jobs/${id}`);
    const log = page.getByRole("log");
    await log.getByText("🚀 done").waitFor();
    expect(await page.locator(".log-text").allInnerTexts()).to.deep.equal(
      ["100 %", "red <b>not bold</b>", "🚀 done"].map((text) => `${text}\n`),
    );
    const color = await log
      .getByText("red", { exact: true })
      .evaluate((run) => getComputedStyle(run).color);
    expect(color).to.equal("rgb(200, 30, 30)");
  });

  it("copies what is selected without numbers, and empty lines with it", async () => {
    const { context, page, fake } = bed();
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    const { id } = fake.jobs.accept({ work: { case: "command", value: { argv: ["copy"] } } }).job;
    fake.jobs.start(id);
    fake.jobs.log(id, "one\n\n\x1b[32mtwo\x1b[0m three\n");
    await page.goto(`${fake.url}/jobs/${id}`);
    await page.getByText("3 lines").waitFor();
    await page.evaluate(() => {
      const rows = document.querySelector(".log-rows");
      if (rows !== null) getSelection()?.selectAllChildren(rows);
    });
    await page.keyboard.press("Control+c");
    const text = await page.evaluate(() => navigator.clipboard.readText());
    expect(text.trimEnd()).to.equal("one\n\ntwo three");
  });

  it("wraps long lines, shows times, and finds in both", async () => {
    const { page, fake } = bed();
    const { id } = fake.jobs.accept({ work: { case: "command", value: { argv: ["long"] } } }).job;
    fake.jobs.start(id);
    fake.jobs.log(id, `${"word ".repeat(400)}end-of-line\nnext\n`);
    await page.goto(`${fake.url}/jobs/${id}`);
    await page.getByText("2 lines").waitFor();
    expect(await page.locator(".log-row").count()).to.equal(2);
    await page.getByRole("button", { name: "Wrap" }).click();
    await page.locator(".log-row").nth(5).waitFor();
    await page.getByRole("button", { name: "Times" }).click();
    await page.getByRole("button", { name: "Find" }).click();
    await page.getByLabel("Find in log").fill("of-line");
    await page.getByText("1 of 1", { exact: true }).waitFor();
    const isInside = await page.locator("mark.current").evaluate((mark) => {
      const frame = mark.closest(".log-scroll")?.getBoundingClientRect();
      return frame !== undefined && mark.getBoundingClientRect().right <= frame.right;
    });
    expect(isInside).to.equal(true);
  });

  it("tells screen readers of new lines apart from the rows", async () => {
    const { page, fake, demo } = bed();
    await page.goto(`${fake.url}/jobs/${demo.running}`);
    await page.getByRole("log").getByText("never exceed their budget").waitFor();
    expect(await page.getByRole("log").getAttribute("aria-live")).to.equal("off");
    fake.jobs.log(demo.running, numbers(1, 12));
    // How many are summed up depends on what came together; announcer.ts has its own test.
    await page
      .locator(".log > [role=status]")
      .getByText(/^\d+ new lines?$/)
      .waitFor({ state: "attached" });
  });

  it("downloads an artifact and the raw log, byte by byte", async () => {
    const { page, fake, demo } = bed();
    const bytes = Uint8Array.of(0x1b, 0x5b, 0x33, 0x31, 0x6d, 0xff, 0xc3);
    fake.jobs.log(demo.running, bytes);
    await page.goto(`${fake.url}/jobs/${demo.failed}`);
    const [file] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Download reports/junit.xml" }).click(),
    ]);
    expect(file.suggestedFilename()).to.equal("junit.xml");
    expect(readFileSync(await file.path(), "utf8")).to.equal("<testsuite/>\n");
    await page.goto(`${fake.url}/jobs/${demo.running}`);
    const [log] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Download the raw log" }).click(),
    ]);
    const pieces = fake.jobs
      .entry(demo.running)
      .events.flatMap(({ kind }) => (kind.case === "log" ? [kind.value.data] : []));
    expect(readFileSync(await log.path())).to.deep.equal(Buffer.concat(pieces));
  });
});
