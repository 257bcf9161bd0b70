/** The console on a backend that is there already: `DEVMESH_TEST_URL`, `DEVMESH_TEST_TOKEN`. */
import { expect } from "chai";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { findBarriers, launchBrowser, openTab, real, type Tab } from "./console-bed.ts";

const describeReal = real === undefined ? describe.skip : describe;

describeReal("the console on a real backend", function () {
  this.timeout(120_000);
  let browser: Browser;
  let context: BrowserContext;
  let tab: Tab;
  let page: Page;
  const { url, token } = real ?? { url: "", token: undefined };

  before(async function () {
    const launched = await launchBrowser();
    if ("missing" in launched) this.skip();
    else browser = launched;
  });
  after(() => browser?.close());
  beforeEach(async () => {
    context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    tab = await openTab(context, token);
    page = tab.page;
  });
  afterEach(async () => {
    await context.close();
    expect(tab.complaints).to.deep.equal([]);
  });

  for (const [path, heading] of [
    ["/", "Jobs"],
    ["/jobs/new", "New job"],
    ["/context?q=retry", "Context"],
    ["/models", "Models"],
    ["/runners", "Runners"],
    ["/audit", "Audit"],
    ["/system", "Health"],
  ] as const) {
    it(`shows ${heading} without barriers`, async () => {
      await page.goto(url + path);
      await page.getByRole("heading", { level: 1, name: heading }).waitFor();
      await page.locator(".loading").waitFor({ state: "detached" });
      expect(await findBarriers(page)).to.deep.equal([]);
    });
  }

  it("runs a job, shows every line of its log, and finds in it", async () => {
    await page.goto(`${url}/jobs/new`);
    await page.getByLabel("Command", { exact: true }).fill("seq 1 100000");
    await page.getByRole("button", { name: "Start the job" }).click();
    await page.getByText("100,000 lines").waitFor({ timeout: 60_000 });
    await page.getByRole("heading").getByText("succeeded").waitFor();
    await page.getByText("complete").waitFor();
    await page.keyboard.press("Control+f");
    await page.getByLabel("Find in log").fill("99999");
    await page.getByText("1 of 1", { exact: true }).waitFor();
    expect(await findBarriers(page)).to.deep.equal([]);
  });

  it("cancels a job", async () => {
    await page.goto(`${url}/jobs/new`);
    await page.getByLabel("Command", { exact: true }).fill("echo started; sleep 600");
    await page.getByRole("button", { name: "Start the job" }).click();
    await page.getByRole("log").getByText("started").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("heading").getByText("cancelled").waitFor({ timeout: 60_000 });
  });
});
