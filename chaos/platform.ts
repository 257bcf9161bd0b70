/** The platform that is struck, whatever it is made of. */
import type { Part } from "./part.ts";
import type { Random } from "./random.ts";
import type { SandboxHosts } from "./sandboxes.ts";

/** A throw-away platform. */
export interface ChaosPlatform {
  readonly parts: readonly Part[];
  /** Parts whose standing still outlives their leases. */
  readonly runners: readonly Part[];
  /** The public addresses; a client may use any. */
  readonly urls: readonly string[];
  readonly token: string;
  /** The sandbox hosts' folders. */
  readonly stateDirs: readonly string[];
  /** The private ports of the sandbox hosts, and what they ask for. */
  readonly hosts: SandboxHosts;
  /** Cuts connections to the database; answers how many. Absent: there are none. */
  readonly cut?: (random: Random) => Promise<number>;
  /** Leases of jobs that have ended. Called when all have. */
  leasesLeft(): Promise<number>;
  /** Stops every part cleanly; answers what is wrong with how they did. */
  stop(): Promise<string[]>;
  /** Ends what `stop` left, and the database. Also after a failure; never throws. */
  close(): Promise<void>;
}

/** What both platforms are started with. */
export interface PlatformOptions {
  /** Everything is kept below it. */
  readonly folder: string;
  /** The environment of every part. */
  readonly env: Readonly<Record<string, string>>;
  /** Takes a line of progress. */
  readonly log: (line: string) => void;
}

/** How long a lease lives without a heartbeat: short, so that a run takes minutes. */
export const leaseTtlMs = 1_500;

/** The environment variable that holds a run's id in each of its processes. */
export const runVariable = "DEVMESH_CHAOS_RUN";

/** The environment that all parts share: nothing of the user's platform is in it. */
export function partEnvironment(folder: string, run: string): Record<string, string> {
  return {
    PATH: process.env.PATH ?? "",
    HOME: folder,
    DEVMESH_CACHE_DIR: `${folder}/cache`,
    LEASE_TTL_MS: String(leaseTtlMs),
    WS_PING_INTERVAL_MS: "1000",
    LOG_LEVEL: "warn",
    SANDBOX_DRIVERS: "process",
    [runVariable]: run,
  };
}

/** The exit statuses of all parts, asked to end in this order; empty if all ended well. */
export async function stopParts(parts: readonly Part[]): Promise<string[]> {
  const faults: string[] = [];
  for (const part of parts) {
    const fault = await part.stop();
    if (fault !== undefined) faults.push(fault);
  }
  return faults;
}
