/** Refuses what no driver can make a sandbox of, by the name of the field. */
import { stat } from "node:fs/promises";
import { invalidField } from "@devmesh/mesh/errors";
import type { SandboxLimits, SandboxSpec } from "./driver.ts";
import { sandboxFailed } from "./driver-errors.ts";

/** The bounds of each limit: below, nothing runs; above, no kernel takes the number. */
const bounds: Readonly<Record<keyof SandboxLimits, readonly [min: number, max: number]>> = {
  memoryMib: [16, 16_777_216],
  cpuMillis: [10, 1_000_000],
  pids: [4, 1_000_000],
  diskMib: [4, 16_777_216],
};

const limitNames = ["memoryMib", "cpuMillis", "pids", "diskMib"] as const;

/**
 * Throws INVALID_FIELD for limits that are no whole numbers within bounds, for an id that
 * names nothing, for a door that comes twice and for a port that is none. `least` are the
 * limits below which this driver's sandboxes do not start.
 */
export function checkSpec(
  { id, limits, doors }: SandboxSpec,
  least: Partial<SandboxLimits> = {},
): void {
  if (!/^[a-z0-9_-]{1,64}$/i.test(id)) {
    throw invalidField("id", `${JSON.stringify(id)} cannot name a sandbox`);
  }
  for (const name of limitNames) {
    const [known, max] = bounds[name];
    const min = Math.max(known, least[name] ?? 0);
    const value = limits[name];
    if (Number.isInteger(value) && value >= min && value <= max) continue;
    throw invalidField(
      `limits.${name}`,
      `${value} is not a whole number between ${min} and ${max}`,
    );
  }
  const names = doors.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw invalidField("doors", `${twice} is in it twice`);
  for (const { name, port = 1024 } of doors) {
    if (Number.isInteger(port) && port >= 1024 && port <= 65_535) continue;
    throw invalidField("doors", `the port of ${name}, ${port}, is not between 1024 and 65535`);
  }
}

/** Where mounts appear in every sandbox. */
const mountRoot = "/opt/devmesh/";

/** Throws SANDBOX_FAILED for mounts that would not appear below `/opt/devmesh/`. */
export function checkMounts(driver: string, mounts: SandboxSpec["mounts"]): void {
  for (const { sandboxPath } of mounts) {
    const parts = sandboxPath.slice(mountRoot.length).split("/");
    const isPlain = !parts.some((part) => /^\.{0,2}$/.test(part));
    if (sandboxPath.startsWith(mountRoot) && isPlain) continue;
    throw sandboxFailed(driver, `${sandboxPath}: mounts must lie below ${mountRoot}`);
  }
}

/** A door leads to a socket that is there when the sandbox is made. Throws SANDBOX_FAILED. */
export async function checkDoors(driver: string, doors: SandboxSpec["doors"]): Promise<void> {
  for (const { socketPath } of doors) {
    const found = await stat(socketPath).catch((error: unknown) => {
      throw sandboxFailed(driver, `the socket ${socketPath} is not there`, error);
    });
    if (!found.isSocket()) throw sandboxFailed(driver, `${socketPath} is not a socket`);
  }
}

/** True if no other job can have the same sandbox: it brings something of its own. */
export function isOfOneJob({ mounts }: Pick<SandboxSpec, "mounts">): boolean {
  return mounts.some(({ ofOneJob }) => ofOneJob === true);
}
