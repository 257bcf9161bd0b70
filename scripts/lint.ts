/** Everything that can be checked without running the product; each check runs, also after a failure. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const bin = (name: string) => join(root, "node_modules", ".bin", name);

/** What is checked, and with which command. */
const checks: readonly (readonly [string, string, readonly string[]])[] = [
  ["format and lint", bin("biome"), ["check", "--error-on-warnings"]],
  ["types", bin("tsc"), ["-p", "."]],
  ["types of the console", bin("tsc"), ["-p", "web"]],
  ["types of the console's tests", bin("tsc"), ["-p", "tests/web"]],
  ["imports and file sizes", process.execPath, ["scripts/check-imports.ts"]],
  // Also unpacks the third-party protos that the checks below read.
  ["generated code", process.execPath, ["scripts/generate.ts", "--check"]],
  ["proto format", bin("buf"), ["format", "--diff", "--exit-code", "proto"]],
  ["proto lint", bin("buf"), ["lint"]],
  ["proto breaking changes", process.execPath, ["scripts/check-breaking.ts"]],
];

let failed = 0;
for (const [name, command, args] of checks) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
  });
  const ok = status === 0;
  console.log(`${ok ? "ok  " : "FAIL"} ${name}`);
  if (ok) continue;
  failed += 1;
  console.log([stdout, stderr, error?.message].filter(Boolean).join("\n"));
}
process.exitCode = failed === 0 ? 0 : 1;
