/** The folders of doors' sockets: each says by its name whose it is, so that a killed process's are known. */
import { createHash } from "node:crypto";
import { chmodSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatOwner, isAlive, thisOwner } from "./owner.ts";

const prefix = "dm-door-";

/** Makes one. Unix socket paths are bounded to about 100 bytes, so its name is short. */
export async function makeDoorFolder(): Promise<string> {
  const { pid, startTicks } = await thisOwner();
  const folder = await mkdtemp(join(tmpdir(), `${prefix}${pid}.${startTicks}.${await place()}.`));
  // Whoever is in the sandbox may connect; the folder's name is its secret.
  chmodSync(folder, 0o711);
  return folder;
}

/** True for the folder of a process of this boot and pid namespace that is gone. */
export async function isDeadOwner(name: string): Promise<boolean> {
  const [, pid, startTicks = "", where] =
    new RegExp(`^${prefix}(\\d+)\\.(\\d*)\\.([0-9a-f]{8})\\.`).exec(name) ?? [];
  if (pid === undefined || where !== (await place())) return false;
  return !(await isAlive({ ...(await thisOwner()), pid: Number(pid), startTicks }));
}

/** This boot and pid namespace: pids of others say nothing. */
async function place(): Promise<string> {
  const owner = { ...(await thisOwner()), pid: 0, startTicks: "" };
  return createHash("sha256").update(formatOwner(owner)).digest("hex").slice(0, 8);
}
