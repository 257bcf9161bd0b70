/**
 * What every guest is told, and how programs are run in it before it is a sandbox. The way to
 * its resident is left to the drivers.
 */
import { randomBytes } from "node:crypto";
import { text } from "node:stream/consumers";
import { sandboxVariables } from "../driver-errors.ts";
import type { ResidentChannel, ResidentSetting } from "../resident/channel.ts";

const entropyBytes = 64;
const machineIdBytes = 16;
const hostNameBytes = 63;
const clockTries = 5;

/** A clock that took longer to be set, in milliseconds, is behind by too much. */
export const clockLimitMs = 400;

/** What tells a guest apart from all others: entropy, the name of its host, its machine id. */
export function identitySettings(id: string): ResidentSetting[] {
  return [
    ["entropy", randomBytes(entropyBytes).toString("hex")],
    ["identity", hostNameOf(id), randomBytes(machineIdBytes).toString("hex")],
  ];
}

/** The time now. */
export function clockSetting(): ResidentSetting {
  const now = Date.now();
  return ["clock", Math.floor(now / 1000), (now % 1000) * 1_000_000];
}

/** Brings the guest's clock to the host's: again while it took too long to tell. */
export async function setClock(channel: ResidentChannel): Promise<void> {
  for (let tries = 0; tries < clockTries; tries++) {
    const began = performance.now();
    await channel.configure([clockSetting()]);
    if (performance.now() - began <= clockLimitMs) return;
  }
}

/** Runs a program with the job's rights to its end; answers what it said. */
export async function runInGuest(
  channel: ResidentChannel,
  argv: readonly string[],
): Promise<string> {
  const env = sandboxVariables;
  const stream = channel.start({ argv, env, cwd: "/work", rights: "job", input: false });
  await stream.started;
  const output = await text(outputOf(stream.chunks()));
  await stream.exit;
  return output;
}

async function* outputOf(chunks: AsyncIterable<{ readonly data: Buffer }>) {
  for await (const { data } of chunks) yield data;
}

/** The sandbox's id, as far as the name of a host may hold it. */
function hostNameOf(id: string): string {
  return id.toLowerCase().replaceAll("_", "-").slice(0, hostNameBytes).replace(/-+$/, "");
}
