/** What a cancel did on this host, step by step: the runner's half of the receipt. */
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type CancelReceipt,
  CancelReceiptSchema,
  type CancelStep,
  CancelStepSchema,
} from "@devmesh/gen/devmesh/api/v1/job_result_pb";

/** A step after the delivery; the contract tells what each means. */
export type CancelStepName = "signalled" | "killed" | "stopped" | "sandbox_removed";

/**
 * Notes the steps of one attempt's cancel. Which there are depends on where the
 * cancel meets the attempt:
 * - before a program runs: no `signalled`, no `stopped`; `sandbox_removed` only
 *   if a sandbox had been made;
 * - while a program runs: `signalled`, `killed` only after the grace, `stopped`;
 * - after the work has ended: nothing is stopped any more and the outcome is
 *   the work's own; `sandbox_removed` if it still stood;
 * - a second cancel, and one after the result was made, change nothing.
 */
export class CancelTrail {
  readonly #monotonicMs: () => number;
  #deliveredMs: number | undefined;
  readonly #steps = new Map<string, CancelStep>();

  /** `monotonicMs`: the runner's clock that never goes back, in milliseconds. */
  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  /** The runner has heard of the cancel. Only the first time counts. */
  deliver(): void {
    if (this.#deliveredMs !== undefined) return;
    this.#deliveredMs = this.#monotonicMs();
    this.#add("delivered", this.#deliveredMs);
  }

  /** A step is done. Passed over before the delivery, and the second time. */
  step(name: CancelStepName): void {
    if (this.#deliveredMs !== undefined) this.#add(name, this.#deliveredMs);
  }

  /** The runner's half of the receipt; undefined if no cancel was delivered. */
  receipt(processesLeft: number): CancelReceipt | undefined {
    if (this.#deliveredMs === undefined) return undefined;
    return create(CancelReceiptSchema, { steps: [...this.#steps.values()], processesLeft });
  }

  #add(name: string, sinceMs: number): void {
    if (this.#steps.has(name)) return;
    const after = durationFromMs(Math.max(0, Math.round(this.#monotonicMs() - sinceMs)));
    this.#steps.set(name, create(CancelStepSchema, { name, after }));
  }
}
