/** One folder for every service of a machine, whatever folder it is started from. */
import { homedir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { readApiConfig } from "../../services/api/config.ts";
import { readInferenceConfig } from "../../services/inference/config.ts";
import { readMcpConfig } from "../../services/mcp/config.ts";
import { readVmConfig } from "../../services/vm/config.ts";

describe("the data folder", () => {
  const foldersOf = (env: Record<string, string>) => {
    const storage = readInferenceConfig(env).storage;
    return [
      readApiConfig(env).dataDir,
      readVmConfig(env).stateDir,
      storage.kind === "sqlite" ? storage.path : storage.kind,
      readMcpConfig(env).storageUrl.replace("sqlite:", ""),
    ];
  };

  for (const [what, env, folder] of [
    ["the user's own", {}, join(homedir(), ".local", "share", "devmesh")],
    ["what DEVMESH_DATA_DIR says", { DEVMESH_DATA_DIR: "/srv/devmesh" }, "/srv/devmesh"],
  ] as const) {
    it(`is ${what} for every service`, () => {
      for (const path of foldersOf(env))
        expect(`${path}/`.startsWith(`${folder}/`), path).to.equal(true);
    });
  }
});
