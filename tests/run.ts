/**
 * Runs every test of the repository with mocha and ends with the one line
 * `N passed, N failed, N skipped`. Arguments are passed on to mocha, so
 * `npm test -- tests/mesh/errors.test.ts` runs one file.
 */
import { spawn } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const asked = process.argv.slice(2);
const files = asked.filter((arg) => arg.endsWith(".ts"));
const flags = asked.filter((arg) => !arg.endsWith(".ts"));

/** Each group is a mocha process of its own: parts that one group starts end with it. */
const groups =
  files.length > 0 ? [files] : groupsOf(globSync("tests/*/**/*.test.ts", { cwd: root }));

/** Test files by their folder, in the order of the folders' names. */
function groupsOf(paths: readonly string[]): string[][] {
  const byFolder = Map.groupBy(paths.toSorted(), (path) => path.split("/")[1] ?? "");
  return [...byFolder.values()];
}

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

async function runGroup(paths: readonly string[], report: string): Promise<Totals> {
  const mocha = join(root, "node_modules", "mocha", "bin", "mocha.js");
  const args = [mocha, "--reporter", join(root, "tests", "reporter.cjs"), ...flags, ...paths];
  const child = spawn(process.execPath, args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, DEVMESH_TEST_REPORT: report },
  });
  const code = await new Promise<number>((resolve) => {
    child.on("close", (status) => resolve(status ?? 1));
  });
  try {
    const totals = JSON.parse(readFileSync(report, "utf8")) as Totals;
    // A crash outside any test is a failure too.
    if (code !== 0 && totals.failed === 0) totals.failed = 1;
    return totals;
  } catch {
    console.error(`mocha ended with status ${code} and no report: ${paths.join(", ")}`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
}

const folder = mkdtempSync(join(tmpdir(), "devmesh-tests-"));
const total: Totals = { passed: 0, failed: 0, skipped: 0 };
try {
  for (const [i, paths] of groups.entries()) {
    const { passed, failed, skipped } = await runGroup(paths, join(folder, `${i}.json`));
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
