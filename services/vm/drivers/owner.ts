/**
 * Tells the processes that made sandboxes apart, also across restarts and pid
 * reuse, so that leftovers can be known. Removing them is left to the drivers.
 */
import { readFile, readlink } from "node:fs/promises";
import { startTicks } from "./process-tree.ts";

/** One process of one host since one boot. */
export interface Owner {
  readonly pid: number;
  /** The kernel's start time of the process, in ticks. Empty where there is no `/proc`. */
  readonly startTicks: string;
  readonly bootId: string;
  /** The pid namespace, for example `pid:[4026531836]`: another one's pids mean nothing here. */
  readonly pidNamespace: string;
}

let self: Promise<Owner> | undefined;

/** This process. */
export function thisOwner(): Promise<Owner> {
  self ??= readSelf();
  return self;
}

async function readSelf(): Promise<Owner> {
  return {
    pid: process.pid,
    startTicks: await startTicks(process.pid),
    bootId: (await textOf("/proc/sys/kernel/random/boot_id")) ?? "",
    pidNamespace: await pidNamespace(),
  };
}

/** True if the process still runs. One of another boot or pid namespace does not. */
export async function isAlive(owner: Owner): Promise<boolean> {
  const own = await thisOwner();
  if (owner.bootId !== own.bootId || owner.pidNamespace !== own.pidNamespace) return false;
  if (own.startTicks !== "") return (await startTicks(owner.pid)) === owner.startTicks;
  try {
    process.kill(owner.pid, 0);
    return true;
  } catch (error: unknown) {
    // EPERM: it is there and somebody else's. Anything else: it is gone.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** The text form, for labels. */
export function formatOwner(owner: Owner): string {
  return [owner.pid, owner.startTicks, owner.bootId, owner.pidNamespace].join("/");
}

/** The reverse of `formatOwner`; undefined for anything else. */
export function parseOwner(text: string): Owner | undefined {
  const [pid, ticks, bootId, namespace] = text.split("/");
  if (pid === undefined || ticks === undefined || bootId === undefined || namespace === undefined) {
    return undefined;
  }
  return { pid: Number(pid), startTicks: ticks, bootId, pidNamespace: namespace };
}

async function pidNamespace(): Promise<string> {
  try {
    return await readlink("/proc/self/ns/pid");
  } catch {
    // No /proc: a host without pid namespaces, on which all processes share one.
    return "";
  }
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch {
    // The process is gone or there is no /proc: both mean "not known".
    return undefined;
  }
}
