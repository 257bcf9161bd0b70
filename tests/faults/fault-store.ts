/**
 * A job store that fails by chance, as a database behind a bad line does: a
 * call is lost before it does anything, or its answer after it did; it comes
 * late, or twice. The same seed gives the same faults for the same calls.
 */

import { DevmeshError } from "@devmesh/mesh/errors";
import type { Random } from "@devmesh/mesh/runtime";
import type { JobStore } from "../../services/api/jobs/job-store.ts";
import { settled } from "../settled.ts";

/** How often each fault comes: parts of all calls, from 0 to 1. */
export interface FaultRates {
  /** UNAVAILABLE, and nothing done. */
  readonly errorBefore: number;
  /** UNAVAILABLE, and everything done. */
  readonly errorAfter: number;
  /** Other work goes first, before the call and before its answer. */
  readonly delay: number;
  /** Done twice; the second answer counts. */
  readonly duplicate: number;
  /** A hint of `onChange` is lost. */
  readonly lostHint: number;
}

/** What the store is made of. */
export interface FaultStoreOptions {
  readonly store: JobStore;
  readonly random: Random;
  readonly rates: FaultRates;
  /** Each fault that came, by name: counted up. */
  readonly counts: Map<keyof FaultRates, number>;
}

/** Answers the store with faults before every method but `onChange` and `close`. */
export function faultStore({ store, random, rates, counts }: FaultStoreOptions): JobStore {
  const hits = (fault: keyof FaultRates) => {
    if (random.next() >= rates[fault]) return false;
    counts.set(fault, (counts.get(fault) ?? 0) + 1);
    return true;
  };
  const faulty = async (name: string, call: () => Promise<unknown>): Promise<unknown> => {
    if (hits("errorBefore")) throw lost(`${name} was lost on its way`);
    if (hits("delay")) await settled(20);
    const twice = hits("duplicate");
    const first = await call();
    const answer = twice ? await call() : first;
    if (hits("delay")) await settled(20);
    if (hits("errorAfter")) throw lost(`the answer of ${name} was lost`);
    return answer;
  };
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== "function") return member;
      if (name === "close") return () => target.close();
      if (name === "onChange") {
        return (listener: (jobId: string) => void) =>
          target.onChange((jobId) => {
            if (!hits("lostHint")) listener(jobId);
          });
      }
      return (...args: unknown[]) =>
        faulty(String(name), async () => await Reflect.apply(member, target, args));
    },
  });
}

function lost(what: string): DevmeshError {
  return new DevmeshError("UNAVAILABLE", what);
}
