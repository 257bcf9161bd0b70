/** The main flow, told once and run on every way to start the platform. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NodeDevmesh } from "../../sdk/ts/src/node.ts";
import { contextTests } from "./main-flow.context.ts";
import { jobTests } from "./main-flow.jobs.ts";
import { tokenTests } from "./main-flow.tokens.ts";
import { watchTests } from "./main-flow.watch.ts";
import { agentTests, workspaceTests } from "./main-flow.workspace.ts";
import { writeScript } from "./script.ts";
import { untilRunner } from "./up.ts";

/** A platform that runs, however it was started. */
export interface FlowPlatform {
  readonly url: string;
  readonly token: string;
  readonly devmesh: NodeDevmesh;
  /** Stops all of it. Throws if a part did not end in order. */
  stop(): Promise<void>;
}

/** What a platform is started with. */
export interface FlowStart {
  /** For the skip of a part that cannot be had. */
  readonly context: Mocha.Context;
  readonly dataDir: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Answers the running platform; only for use inside of tests. */
export type GetPlatform = () => FlowPlatform;

/** How many jobs run at once: so few that a test can fill it. */
export const capacity = 2;

/** Runs the flow on a platform that is started once; the slow agent only where it is asked for. */
export function mainFlowSuite(
  name: string,
  start: (input: FlowStart) => Promise<FlowPlatform>,
  { agent = true }: { readonly agent?: boolean } = {},
): void {
  describe(`the main flow on ${name}`, function () {
    this.timeout(90_000);
    let folder: string | undefined;
    let platform: FlowPlatform | undefined;

    before(async function () {
      folder = mkdtempSync(join(tmpdir(), "devmesh-e2e-"));
      const env = { SCRIPTED_PATH: writeScript(folder), RUNNER_CAPACITY: String(capacity) };
      platform = await start({ context: this, dataDir: folder, env });
      await untilRunner(platform);
    });
    after(async () => {
      try {
        await platform?.stop();
      } finally {
        if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
      }
    });

    const get: GetPlatform = () => {
      if (platform === undefined) throw new Error("the platform does not run");
      return platform;
    };
    jobTests(get);
    watchTests(get);
    workspaceTests(get);
    if (agent) agentTests(get);
    contextTests(get);
    tokenTests(get);
  });
}
