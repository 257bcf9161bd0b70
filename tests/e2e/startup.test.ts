/** Starts that must be refused: one clear message each, and nothing left open. */
import { chmodSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect } from "chai";
import { isRoot } from "../../scripts/parts/run.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { runProgram } from "./program.ts";
import { failUp, startUp, type UpOptions } from "./up.ts";

describe("a start that cannot be", function () {
  this.timeout(60_000);
  let folder: TempFolder;

  beforeEach(() => {
    folder = tempFolder();
  });
  afterEach(() => folder[Symbol.dispose]());

  const dataDir = () => join(folder.path, "data");

  /** The message and its reason, once they are held to what every refusal must be. */
  async function refusalOf(options: Partial<UpOptions>): Promise<string> {
    const { code, out, err } = await failUp({ dataDir: dataDir(), ...options });
    const told = err.split("\n").filter((line) => line.startsWith('{"error":'));
    expect(told, err).to.have.length(1);
    const { error } = JSON.parse(told[0] ?? "");
    const isInput = ["CONFIG_INVALID", "INVALID_FIELD"].includes(error.reason);
    expect(code, err).to.equal(isInput ? 2 : 1);
    expect(error.exitCode).to.equal(code);
    expect(out).to.equal("");
    expect(err).to.not.match(/\n\s+at |node:internal|Node\.js v/);
    return `${error.message} (${error.reason})`;
  }

  it("names the port that is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    try {
      await new Promise((resolve) => other.once("listening", resolve));
      const { port } = other.address() as AddressInfo;
      const text = await refusalOf({ apiPort: port });
      expect(text).to.match(new RegExp(`^port ${port} of 127.0.0.1 is taken .*: choose another`));
      expect(text.split("\n")).to.have.length(1);
    } finally {
      other.close();
    }
  });

  it("names the config file that is no JSON", async () => {
    const path = folder.write("config.json", '{ "LOG_LEVEL": ');
    const text = await refusalOf({ env: { DEVMESH_CONFIG: path } });
    expect(text).to.include(`DEVMESH_CONFIG: ${path} is not a JSON object`);
    const missing = await refusalOf({ env: { DEVMESH_CONFIG: join(folder.path, "none.json") } });
    expect(missing).to.include("DEVMESH_CONFIG: ").and.to.include("none.json");
  });

  it("tells all mistakes of one service together, each with its field", async () => {
    const env = {
      LOG_LEVEL: "loud",
      REQUEST_TIMEOUT_MS: "soon",
      WS_PING_INTERVAL_MS: "-1",
      STORAGE_URL: "mongodb://user:hidden@host/db",
      MCP_URL: "ftp://x",
    };
    const text = await refusalOf({ env });
    for (const name of Object.keys(env)) expect(text).to.include(`${name}: wants`);
    expect(text).to.not.include("hidden");
    expect(text).to.match(/\(CONFIG_INVALID\)$/);
  });

  it("names what the other services cannot be configured with", async () => {
    const drivers = await refusalOf({ env: { SANDBOX_DRIVERS: "process,jail" } });
    expect(drivers).to.include("SANDBOX_DRIVERS: there is no jail; there are process");
    const keys = await refusalOf({ env: { CLOUD_API_KEYS: "sk-hidden-0123456789" } });
    expect(keys).to.include("CLOUD_API_KEYS: wants").and.to.not.include("hidden");
    const script = await refusalOf({ env: { SCRIPTED_PATH: join(folder.path, "none") } });
    expect(script).to.include("SCRIPTED_PATH: ");
  });

  it("refuses the dev bypass in production", async () => {
    const text = await refusalOf({ dev: true, env: { DEVMESH_ENV: "production" } });
    expect(text).to.include("DEV_BYPASS: is refused in production");
  });

  it("refuses an option that is none, and says so", async () => {
    const { code, err } = await runProgram({
      args: ["up", "--colour"],
      env: { HOME: folder.path },
    });
    expect(code).to.equal(2);
    expect(err)
      .to.match(/^error: up: .*--colour/)
      .and.to.not.include("    at ");
    const json = await runProgram({
      args: ["up", "--colour", "--json"],
      env: { HOME: folder.path },
    });
    expect(json.code).to.equal(2);
    const { error } = JSON.parse(json.err);
    expect(error).to.include({ reason: "INVALID_FIELD", exitCode: 2 });
    expect(error.message).to.include("--colour");
  });

  it("leaves a store alone that a newer devmesh wrote", async () => {
    const first = await startUp({ dataDir: dataDir() });
    expect(await first.stop()).to.equal(0);
    const path = join(dataDir(), "api.sqlite");
    const database = new DatabaseSync(path);
    const columns = database.prepare("PRAGMA table_info(schema_migrations)").all();
    const names = columns.map(({ name }) => String(name));
    const others = names.filter((name) => !["version", "reader"].includes(name)).join(", ");
    database.exec(
      `INSERT INTO schema_migrations (version, reader, ${others})
       SELECT max(version) + 1, max(version) + 1, ${others} FROM schema_migrations`,
    );
    database.close();
    const text = await refusalOf({});
    expect(text)
      .to.match(/has schema version \d+, this devmesh knows up to/)
      .and.to.match(/\(STORE_TOO_NEW\)$/);
    expect(text).to.include("start the newer devmesh, or restore a backup");
  });

  it("leaves a data folder alone that another devmesh uses", async () => {
    const first = await startUp({ dataDir: dataDir() });
    try {
      const text = await refusalOf({});
      expect(text).to.include(`another devmesh uses the data folder ${dataDir()}`);
      expect(text).to.include("--data-dir");
      expect((await fetch(`${first.url}/readyz`)).status).to.equal(200);
    } finally {
      expect(await first.stop()).to.equal(0);
    }
  });

  it("names the data folder that is a file", async () => {
    const path = folder.write("data", "I am a file");
    expect(await refusalOf({})).to.include(path);
  });

  it("names the data folder that it cannot write", async () => {
    // Root writes everywhere but where the system itself does not.
    const path = isRoot() ? "/sys/devmesh" : folder.path;
    if (!isRoot()) chmodSync(path, 0o500);
    const data = isRoot() ? path : join(path, "data");
    try {
      expect(await refusalOf({ dataDir: data, env: { HOME: "/tmp" } })).to.include(data);
    } finally {
      if (!isRoot()) chmodSync(path, 0o700);
    }
  });

  it("says which service there is not", async () => {
    const { code, err } = await runProgram({ args: ["serve", "moon"], env: { HOME: folder.path } });
    expect(code).to.not.equal(0);
    expect(err).to.include('there is no service "moon"').and.to.not.include("    at ");
  });
});
