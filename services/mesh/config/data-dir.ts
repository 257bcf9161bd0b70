/** Owns where a machine's own data lies unless it is told otherwise: one folder for every service. */
import { homedir } from "node:os";
import { join } from "node:path";
import type { EnvReader } from "./env-reader.ts";

/** `DEVMESH_DATA_DIR`. Default: `~/.local/share/devmesh`. */
export function readDataDir(reader: EnvReader): string {
  return reader.string("DEVMESH_DATA_DIR", join(homedir(), ".local", "share", "devmesh"));
}
