/**
 * Whose a lease is: epochs can be guessed, so a lease is worth something only
 * to the token that took it. Ending leases is left to the store.
 */
import type { JobStore, LeaseRef } from "../jobs/job-store.ts";

/** How many leases are remembered. */
const maxKnown = 50_000;

/** The services of one deployment trust each other. */
const service = "service";

/** What the class needs. */
export interface LeaseHoldersOptions {
  readonly store: Pick<JobStore, "leaseHolder">;
}

/** Who took which lease. That never changes, so what is known once is asked no more. */
export class LeaseHolders {
  readonly #store: LeaseHoldersOptions["store"];
  readonly #known = new Map<string, string>();

  constructor({ store }: LeaseHoldersOptions) {
    this.#store = store;
  }

  /** Remembers who takes a lease. */
  note(lease: LeaseRef, holder: string): void {
    // The oldest goes: the store knows it as long as nobody else took the job.
    const oldest = this.#known.size < maxKnown ? undefined : this.#known.keys().next().value;
    if (oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(nameOf(lease), holder);
  }

  /**
   * True if the caller took the lease. Of one that nobody knows any more only
   * the deployment's own services are believed: the store fences it.
   */
  async holds(lease: LeaseRef, caller: string): Promise<boolean> {
    const known = this.#known.get(nameOf(lease));
    const holder = known ?? (await this.#store.leaseHolder(lease));
    if (holder === undefined) return caller === service;
    // What others ask for does not push out what is asked for again.
    if (known === undefined && holder === caller) this.note(lease, holder);
    // A lease from before there were holders is whoever's has it.
    return holder === caller || holder === "";
  }
}

function nameOf({ jobId, epoch }: LeaseRef): string {
  return `${epoch} ${jobId}`;
}
