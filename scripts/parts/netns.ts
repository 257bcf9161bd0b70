/**
 * Hosts that reach one address and nothing else: a network namespace each, tied
 * to this machine by a cable (veth) that can be cut.
 */
import { spawnSync } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { ensureBinary } from "./debian.ts";
import { attempt, type Found, missing, type PartOptions } from "./part.ts";
import { isRoot, run } from "./run.ts";
import { onExit } from "./sweep.ts";

const commandLimitMs = 20_000;

/** A host of its own. */
export interface NetHost {
  /** What to write before a command so that it runs there. */
  readonly prefix: readonly string[];
  /** Its own address. */
  readonly address: string;
  /** Pulls the cable: nothing comes or goes, and nobody is told. */
  cut(): Promise<void>;
  /** Puts it back. */
  mend(): Promise<void>;
}

/** Some hosts and the address that they reach. */
export interface NetHosts {
  /** An address of this machine that all of them reach, and nobody else's. */
  readonly address: string;
  readonly hosts: readonly NetHost[];
  /** Removes it all. */
  remove(): Promise<void>;
}

/** Makes hosts without a route to each other. Needs root and a kernel with namespaces and veth. */
export async function makeNetHosts(
  count: number,
  options: PartOptions = {},
): Promise<Found<NetHosts>> {
  if (!isRoot()) return missing("network namespaces need root", "run the tests as root");
  for (const [name, packages] of [
    ["ip", ["iproute2"]],
    ["nsenter", ["util-linux"]],
  ] as const) {
    const found = await ensureBinary(name, [...packages], options);
    if (!found.ok) return found;
  }
  return await attempt("use a kernel with network namespaces and veth", () => make(count));
}

async function make(count: number): Promise<NetHosts> {
  const id = randomBytes(3).toString("hex");
  const net = `10.${randomInt(200, 250)}.${randomInt(1, 250)}`;
  const address = `${net}.1`;
  const ip = (...args: string[]) => run("ip", args, { timeoutMs: commandLimitMs });
  const undo: string[][] = [];
  const forget = onExit(() => {
    for (const args of undo.reverse()) spawnSync("ip", args);
  });
  const remove = async () => {
    forget();
    // What is gone already need not be removed.
    for (const args of undo.splice(0).reverse()) await ip(...args).catch(() => {});
  };
  try {
    await ip("addr", "add", `${address}/32`, "dev", "lo");
    undo.push(["addr", "del", `${address}/32`, "dev", "lo"]);
    const hosts: NetHost[] = [];
    for (let i = 0; i < count; i++) {
      const name = `dm-${id}-${i}`;
      const cable = `dm${id}${i}`;
      const [outer, own] = [`${net}.${8 * i + 9}`, `${net}.${8 * i + 10}`];
      const inside = (...args: string[]) => ip("-n", name, ...args);
      await ip("netns", "add", name);
      undo.push(["netns", "del", name]);
      await ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name);
      undo.push(["link", "del", cable]);
      await ip("addr", "add", `${outer}/30`, "dev", cable);
      await ip("link", "set", cable, "up");
      await inside("link", "set", "lo", "up");
      await inside("addr", "add", `${own}/30`, "dev", "eth0");
      await inside("link", "set", "eth0", "up");
      await inside("route", "add", `${address}/32`, "via", outer);
      hosts.push({
        // Not `ip netns exec`: that would hide the control groups below /sys.
        prefix: ["nsenter", `--net=/run/netns/${name}`],
        address: own,
        cut: async () => void (await ip("link", "set", cable, "down")),
        mend: async () => void (await ip("link", "set", cable, "up")),
      });
    }
    return { address, hosts, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
