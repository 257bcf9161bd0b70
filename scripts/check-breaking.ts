/** Holds the contracts to the last release (tag `v*`); passes while there is none. */
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const tags = execFileSync("git", ["tag", "--list", "v*", "--sort=-v:refname"], {
  cwd: root,
  encoding: "utf8",
});
const release = tags.split("\n")[0];
if (release === undefined || release === "") {
  console.log("no release yet: nothing to break");
} else {
  const against = `.git#tag=${release},subdir=proto`;
  const buf = join(root, "node_modules", ".bin", "buf");
  const { status } = spawnSync(buf, ["breaking", "proto", "--against", against], {
    cwd: root,
    stdio: "inherit",
  });
  process.exitCode = status ?? 1;
}
