/**
 * Runs every test of the repository with mocha, names what failed once more,
 * and ends with the one line `N passed, N failed, N skipped`. Arguments are passed on to mocha, so
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

/** What one mocha process says of its tests; see reporter.cjs. */
interface Report {
  passed: number;
  skipped: number;
  /** One text for each test or hook that failed: its full title and the error. */
  failures: string[];
}

async function runGroup(paths: readonly string[], file: string): Promise<Report> {
  const mocha = join(root, "node_modules", "mocha", "bin", "mocha.js");
  const args = [mocha, "--reporter", join(root, "tests", "reporter.cjs"), ...flags, ...paths];
  const child = spawn(process.execPath, args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, DEVMESH_TEST_REPORT: file },
  });
  const code = await new Promise<number>((resolve) => {
    child.on("close", (status) => resolve(status ?? 1));
  });
  try {
    const report = JSON.parse(readFileSync(file, "utf8")) as Report;
    if (code !== 0 && report.failures.length === 0) {
      report.failures.push(`mocha ended with status ${code} outside any test: ${paths.join(", ")}`);
    }
    return report;
  } catch {
    const failure = `mocha ended with status ${code} and no report: ${paths.join(", ")}`;
    return { passed: 0, skipped: 0, failures: [failure] };
  }
}

const folder = mkdtempSync(join(tmpdir(), "devmesh-tests-"));
const total: Report = { passed: 0, skipped: 0, failures: [] };
try {
  for (const [i, paths] of groups.entries()) {
    const { passed, skipped, failures } = await runGroup(paths, join(folder, `${i}.json`));
    total.passed += passed;
    total.skipped += skipped;
    total.failures.push(...failures);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
for (const failure of total.failures) console.log(`failed: ${failure}\n`);
const failed = total.failures.length;
console.log(`${total.passed} passed, ${failed} failed, ${total.skipped} skipped`);
process.exitCode = failed > 0 || total.passed === 0 ? 1 : 0;
