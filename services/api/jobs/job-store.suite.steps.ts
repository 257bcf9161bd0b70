/** What may happen in random runs of a job store. */
import fc from "fast-check";

/** Jobs and leases are picked by number, from the last on, modulo how many there are. */
export type Step =
  | {
      readonly do: "accept";
      readonly isolation: number;
      readonly maxAttempts: number;
      /** 0: none. */
      readonly key: number;
      readonly fingerprint: number;
      readonly priority: number;
      readonly delayed: boolean;
      /** 0: no concurrency key. */
      readonly slotKey: number;
      readonly limit: number;
      readonly retriesFailures: boolean;
      /** Bits of the labels it wants: 1, 2, 4. */
      readonly labels: number;
    }
  | {
      readonly do: "claim";
      readonly runner: number;
      readonly strongest: number;
      readonly max: number;
      readonly expires: boolean;
      /** Bits of the labels it has. */
      readonly labels: number;
    }
  | { readonly do: "renew"; readonly lease: number; readonly expires: boolean }
  | {
      readonly do: "append";
      readonly lease: number;
      readonly shift: number;
      readonly count: number;
    }
  | {
      readonly do: "finish";
      readonly lease: number;
      readonly shift: number;
      readonly outcome: number;
    }
  | { readonly do: "release"; readonly lease: number }
  | { readonly do: "cancel"; readonly job: number }
  /** A runner is gone: its leases run out. */
  | { readonly do: "crash"; readonly runner: number }
  | { readonly do: "pause" }
  | { readonly do: "resume" }
  /** Time goes on, past every delay and short of every lease. */
  | { readonly do: "advance" }
  | { readonly do: "sweep" };

const just = <const T extends string>(name: T) => fc.constant(name);
const upTo = (min: number, max: number) => fc.integer({ min, max });
// The last jobs and leases are the ones that matter most.
const pick = upTo(0, 5);
const shift = fc.constantFrom(0, 0, 0, -1, -2, 1);
const seldom = fc.integer({ min: 0, max: 3 }).map((n) => n === 0);

const accept = fc.record({
  ...{ do: just("accept"), isolation: upTo(0, 4), maxAttempts: upTo(1, 3) },
  ...{ key: upTo(0, 3), fingerprint: upTo(0, 1), priority: upTo(-1, 1), delayed: seldom },
  ...{ slotKey: upTo(0, 2), limit: upTo(1, 2), retriesFailures: fc.boolean() },
  labels: fc.constantFrom(0, 0, 1, 2, 3, 5, 7),
});
const claim = fc.record({
  ...{ do: just("claim"), runner: upTo(1, 3), strongest: upTo(1, 4), max: upTo(1, 3) },
  ...{ expires: fc.boolean(), labels: fc.constantFrom(7, 7, 3, 4, 0) },
});
const append = fc.record({ do: just("append"), lease: pick, shift, count: upTo(0, 3) });
const finish = fc.record({ do: just("finish"), lease: pick, shift, outcome: upTo(3, 5) });

/** One step; accepting, claiming and appending are the most frequent. */
export const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: accept, weight: 5 },
  { arbitrary: claim, weight: 5 },
  { arbitrary: fc.record({ do: just("renew"), lease: pick, expires: fc.boolean() }), weight: 1 },
  { arbitrary: append, weight: 4 },
  { arbitrary: finish, weight: 4 },
  { arbitrary: fc.record({ do: just("release"), lease: pick }), weight: 1 },
  { arbitrary: fc.record({ do: just("cancel"), job: pick }), weight: 1 },
  { arbitrary: fc.record({ do: just("crash"), runner: upTo(1, 3) }), weight: 1 },
  { arbitrary: fc.record({ do: fc.constantFrom("pause", "resume", "resume") }), weight: 1 },
  { arbitrary: fc.record({ do: just("advance") }), weight: 1 },
  { arbitrary: fc.record({ do: just("sweep") }), weight: 2 },
);
