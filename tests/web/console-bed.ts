/** What the console's browser tests share: the browser, a built console, a fake or a real backend. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import axe from "axe-core";
import { expect } from "chai";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { build } from "vite";
import { findChromium } from "../../scripts/parts/chromium.ts";
import { type Demo, playDemo } from "./fake/demo.ts";
import { FakeServer } from "./fake/fake-server.ts";

const web = join(import.meta.dirname, "../../web");

/** The folder with the built console. */
export const dist = join(web, "dist");

/** A backend that is there already, from `DEVMESH_TEST_URL`; its token from `DEVMESH_TEST_TOKEN`. */
export const real =
  process.env.DEVMESH_TEST_URL === undefined
    ? undefined
    : { url: process.env.DEVMESH_TEST_URL, token: process.env.DEVMESH_TEST_TOKEN };

let built: Promise<void> | undefined;

/** Builds the console as it is published; once for all suites. */
export function buildConsole(): Promise<void> {
  built ??= makeDist();
  return built;
}

async function makeDist(): Promise<void> {
  await build({ root: web, configFile: join(web, "vite.config.ts"), logLevel: "error" });
  if (!existsSync(join(dist, "index.html"))) throw new Error("the build left no index.html");
}

/** Starts the browser; undefined with a reason where there is none. */
export async function launchBrowser(): Promise<Browser | { readonly missing: string }> {
  const found = await findChromium();
  if (!found.ok) return { missing: `${found.reason} ${found.remedy}` };
  return await chromium.launch(found.value);
}

/** A page of its own that fails the test on anything the browser complains about. */
export class Tab {
  readonly page: Page;
  readonly complaints: string[] = [];

  constructor(page: Page) {
    this.page = page;
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      // A backend that is away shows as failed requests: that is what some tests want.
      const text = message.text();
      const isNetwork = /ERR_|WebSocket|Failed to load resource/.test(text);
      if (message.type() === "error" && !isNetwork) this.complaints.push(text);
    });
  }
}

/** Opens a tab; with a token it is signed in. */
export async function openTab(context: BrowserContext, token?: string): Promise<Tab> {
  if (token !== undefined) {
    await context.addInitScript((secret) => localStorage.setItem("devmesh.token", secret), token);
  }
  return new Tab(await context.newPage());
}

/** What the tests of one suite work with; made anew for each test. */
export interface Bed {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly fake: FakeServer;
  readonly demo: Demo;
}

/** Sets up a suite on the fake: a built console, a browser, a fake and a tab for each test. */
export function setUpBed(options: { readonly needsToken?: boolean } = {}): () => Bed {
  let browser: Browser | undefined;
  let bed: (Bed & { readonly tab: Tab }) | undefined;
  before(async function () {
    this.timeout(60_000);
    if (real !== undefined) this.skip();
    await buildConsole();
    const launched = await launchBrowser();
    if ("missing" in launched) {
      console.warn(launched.missing);
      this.skip();
    } else browser = launched;
  });
  after(() => browser?.close());
  beforeEach(async () => {
    if (browser === undefined) throw new Error("there is no browser");
    const fake = new FakeServer({ folder: dist, ...options });
    await fake.start();
    const demo = playDemo(fake);
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    const tab = await openTab(context);
    bed = { context, tab, page: tab.page, fake, demo };
  });
  afterEach(async () => {
    await bed?.context.close();
    await bed?.fake.stop();
    expect(bed?.tab.complaints).to.deep.equal([]);
  });
  return () => {
    if (bed === undefined) throw new Error("no test is running");
    return bed;
  };
}

/** Serious and critical findings of axe, in a line each. */
export async function findBarriers(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const results = await page.evaluate(async () => {
    const { axe: engine } = window as unknown as { axe: typeof import("axe-core") };
    return await engine.run(document, { resultTypes: ["violations"] });
  });
  return results.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary}`),
    );
}
