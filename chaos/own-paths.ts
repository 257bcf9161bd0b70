/** By which paths what belongs to a run is told apart. Looking for it is left to `leftovers.ts`. */
import { createHash } from "node:crypto";
import { join } from "node:path";

/** Where everything of the run lies: its own folder, and what other users must be able to enter. */
export function ownPaths(folder: string, stateDirs: readonly string[]): string[] {
  return [folder, ...stateDirs.map(doorstep)];
}

/** True for the command line of a virtual machine. */
export function isMachine(commandLine: string): boolean {
  return /qemu-system/.test(commandLine.split(" ")[0] ?? "");
}

/** Where process sandboxes of a state folder that others cannot enter lie. */
export function doorstep(stateDir: string): string {
  const digest = createHash("sha256").update(join(stateDir, "process")).digest("hex");
  return `/run/devmesh-${digest.slice(0, 16)}`;
}
