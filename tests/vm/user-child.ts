/** Runs a test's own script as an ordinary user of the host, which the tests' process may not be. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { isReachableByAll } from "../../services/vm/drivers/work-disk.ts";

/** The user that nothing of the host belongs to. */
const nobody = 65_534;

/** Whether another user can read this tree and its Node; the reason if not. */
export async function whyNoUserChild(): Promise<string | undefined> {
  if (process.platform !== "linux") return "it needs Linux";
  if (process.getuid?.() !== 0) return undefined;
  for (const path of [import.meta.filename, process.execPath]) {
    if (!(await isReachableByAll(path))) return `other users cannot reach ${path}`;
  }
  return undefined;
}

/**
 * The last line of what `script` says, as JSON; it gets a folder of its own and
 * `args`. Throws with its stderr if it fails.
 */
export async function runAsUser(
  script: string,
  folder: string,
  args: readonly string[] = [],
): Promise<unknown> {
  const isRoot = process.getuid?.() === 0;
  chmodSync(folder, 0o755);
  // The home's own parent is hidden from sandboxes: it must hold nothing that they need.
  const [home, tmp, state] = [
    join(folder, "home", "user"),
    join(folder, "tmp"),
    join(folder, "state"),
  ];
  for (const path of [join(folder, "home"), home, tmp, state]) {
    mkdirSync(path, { recursive: true, mode: 0o755 });
    if (isRoot) chownSync(path, nobody, nobody);
  }
  const child = spawn(process.execPath, [join(import.meta.dirname, script), state, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: "/usr/bin:/bin", HOME: home, TMPDIR: tmp },
    cwd: state,
    ...(isRoot && { uid: nobody, gid: nobody }),
  });
  const ended = once(child, "exit");
  const [said, errors] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (child.exitCode !== 0) throw new Error(`${script} failed: ${errors}`);
  return JSON.parse(said.trim().split("\n").at(-1) ?? "");
}
