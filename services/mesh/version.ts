/** The version of devmesh that runs. */
import { readFileSync } from "node:fs";

const manifest: unknown = JSON.parse(
  readFileSync(new URL("./package.json", import.meta.url), "utf8"),
);

/** As in the manifest: `major.minor.patch`. */
export const version: string = (manifest as { version: string }).version;
