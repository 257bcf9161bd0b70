/**
 * Takes pictures of every screen into `web/shots/`, and the README's into
 * `docs/console.png`. Run by hand: `node tests/web/shots.ts`.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { buildConsole, dist, launchBrowser } from "./console-bed.ts";
import { playDemo } from "./fake/demo.ts";
import { FakeServer } from "./fake/fake-server.ts";

const root = join(import.meta.dirname, "../..");
const shots = join(root, "web/shots");
mkdirSync(shots, { recursive: true });

await buildConsole();
const browser = await launchBrowser();
if ("missing" in browser) throw new Error(browser.missing);
const fake = new FakeServer({ folder: dist });
await fake.start();
const locked = new FakeServer({ folder: dist, needsToken: true });
await locked.start();
const demo = playDemo(fake);

const screens: [string, string, string, ((page: Page) => Promise<void>)?][] = [
  ["jobs", "/", "npm ci"],
  ["new-job", "/jobs/new", "Isolation"],
  ["job-live", `/jobs/${demo.running}`, "never exceed"],
  ["job-find", `/jobs/${demo.running}#L19`, "never exceed", find],
  ["job-failed", `/jobs/${demo.failed}`, "EXIT_STATUS"],
  ["job-report", `/jobs/${demo.agent}?tab=report`, "18,204"],
  ["job-events", `/jobs/${demo.agent}?tab=events`, "agent.step"],
  ["context", "/context?q=where+are+retries+decided", "retry.ts"],
  ["models", "/models", "qwen2.5-coder", ask],
  ["runners", "/runners", "build-2"],
  ["audit", "/audit", "token.create"],
  ["health", "/system", "not ready"],
];

async function find(page: Page): Promise<void> {
  await page.keyboard.press("Control+f");
  await page.keyboard.type("lease");
  await page.getByRole("button", { name: "Times" }).click();
  await page.locator("mark.current").waitFor();
}

async function ask(page: Page): Promise<void> {
  await page.getByLabel("Question").fill("What is an epoch?");
  await page.getByRole("button", { name: "Ask" }).click();
  await page.getByText("24 out").waitFor();
}

try {
  for (const colorScheme of ["light", "dark"] as const) {
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      colorScheme,
    });
    const page = await context.newPage();
    for (const [name, path, text, act] of screens) {
      await page.goto(fake.url + path);
      await page.getByText(text).first().waitFor();
      await act?.(page);
      await page.screenshot({ path: join(shots, `${name}-${colorScheme}.png`) });
      if (name === "job-live" && colorScheme === "dark") {
        await page.screenshot({ path: join(root, "docs/console.png") });
      }
      await page.evaluate(() => localStorage.clear());
    }
    await page.goto(locked.url);
    await page.getByText("devmesh console").first().waitFor();
    await page.screenshot({ path: join(shots, `sign-in-${colorScheme}.png`) });
    await page.goto(`${fake.url}/jobs`);
    await page.getByText("npm ci").waitFor();
    await fake.stop();
    await page.getByText("does not answer;").waitFor();
    await page.screenshot({ path: join(shots, `away-${colorScheme}.png`) });
    await fake.start();
    await context.close();
  }
} finally {
  await browser.close();
  await fake.stop();
  await locked.stop();
}
