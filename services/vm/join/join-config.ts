/** The configuration of a host that joins a backend from anywhere. */
import { homedir } from "node:os";
import { join } from "node:path";
import { type Env, EnvReader } from "@devmesh/mesh/config";
import { readVmConfig, type VmConfig } from "../config.ts";

/** What a joining host is started with. */
export interface JoinConfig {
  readonly vm: VmConfig;
  /** A token with the scope `run:jobs`. */
  readonly token: string;
  /** The folder of this runner; sandboxes are below it. Default: `~/.local/share/devmesh-runner`. */
  readonly dataDir: string;
  /** True: a backend that cannot be reached at the start is waited for. Default: false. */
  readonly waits: boolean;
}

/** Reads the configuration. Throws CONFIG_INVALID with every mistake in it. */
export function readJoinConfig(env: Env): JoinConfig {
  const reader = new EnvReader(env);
  const fallback = join(homedir(), ".local", "share", "devmesh-runner");
  const dataDir = reader.string("DEVMESH_DATA_DIR", fallback);
  const token = reader.secret("DEVMESH_TOKEN") ?? "";
  if (token === "") {
    reader.mistake(
      "DEVMESH_TOKEN: is missing: make one with `devmesh tokens create NAME --scope run:jobs`",
    );
  }
  if (reader.optional("API_URL") === undefined) {
    reader.mistake(
      "API_URL: is missing: the backend's address, for example https://devmesh.example",
    );
  }
  const waits = reader.boolean("RUNNER_JOIN_WAIT", false);
  reader.finish();
  return { vm: readVmConfig({ ...env, DEVMESH_DATA_DIR: dataDir }), token, dataDir, waits };
}
