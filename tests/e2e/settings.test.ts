/** Settings of a real platform: seen by every service of it, kept over a restart. */
import { join } from "node:path";
import { expect } from "chai";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { startUp, type Up } from "./up.ts";
import { until } from "./wait.ts";

interface Line {
  readonly level: string;
  readonly service: string;
}

/** Which services have logged at a level. */
function servicesAt(up: Up, level: string): Set<string> {
  const lines = up
    .log()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Line);
  return new Set(lines.filter((line) => line.level === level).map(({ service }) => service));
}

describe("settings of a platform", function () {
  this.timeout(120_000);
  let folder: TempFolder;
  let up: Up;
  before(async () => {
    folder = tempFolder();
    up = await startUp({ dataDir: join(folder.path, "data") });
  });
  after(async () => {
    await up?.stop();
    folder?.[Symbol.dispose]();
  });

  it("change what every service of it logs, while it runs", async () => {
    const { system } = up.devmesh;
    await system.get();
    expect(servicesAt(up, "debug")).to.deep.equal(new Set());
    const { settings } = await system.updateSettings({ settings: { logLevel: "debug" } });
    expect(settings?.logLevel).to.equal("debug");
    await until("three services log at debug", async () => {
      await system.get();
      const seen = servicesAt(up, "debug");
      return ["api", "mcp", "inference"].every((name) => seen.has(name));
    });
  });

  it("hold on after a restart, until they are reset", async () => {
    await up.devmesh.system.updateSettings({
      settings: { features: { infer: false }, logLevel: "error" },
    });
    await up.stop();
    up = await startUp({ dataDir: join(folder.path, "data") });
    const { system, llm } = up.devmesh;
    const { settings, version } = await system.settings();
    expect(settings).to.deep.include({ logLevel: "error" });
    expect((await system.get()).features).to.include({ infer: false });
    const error = await llm.infer({ input: "hi" }).catch((e: unknown) => e);
    expect(error).to.have.property("reason", "FEATURE_DISABLED");
    const reset = { reset: ["features", "log_level"], expectedVersion: version };
    const after = await system.updateSettings(reset);
    expect(after.settings).to.deep.include({ logLevel: "warn" });
    expect(after.settings?.features.infer).to.equal(true);
  });
});
