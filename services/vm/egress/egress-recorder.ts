/**
 * What the proxy decided, counted by kind, told to the backend in numbered
 * reports, and refusals told to the job as notes. Bounded, whatever a sandbox tries.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { EgressDecisionSchema } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { redact } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import type { ProxyDecision } from "./egress-proxy.ts";

/** Decisions that are alike, as the contract has them. */
export type CountedDecision = MessageInitShape<typeof EgressDecisionSchema>;

/** What is told of a job's refusals, one line each. */
export interface RefusalNote {
  readonly level: "warn";
  readonly topic: "egress";
  readonly message: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** What a recorder needs. */
export interface EgressRecorderOptions {
  /** Stores one report; safe to repeat. Resolves once it is answered, rejects if it is refused for good. */
  readonly report: (number: number, decisions: readonly CountedDecision[]) => Promise<void>;
  /** Tells the job. */
  readonly note: (note: RefusalNote) => void;
  readonly clock: Clock;
  /** Called once, when reporting has failed for good: what runs is no longer recorded. */
  readonly onFailure: (error: unknown) => void;
}

/** How long decisions may wait for others that are alike; longer once much was told. */
const gatherMs = { first: 1_000, later: 30_000 };

/** Kinds in one report; beyond it hosts and paths are no longer told apart. */
const maxKinds = 500;

/** Kinds of one attempt that are told with host and path. */
const maxDetailed = 10_000;

/** Notes of one attempt. */
const maxNotes = 50;

/** The contract's bounds, in bytes. */
const maxBytes = { host: 253, method: 20, path: 1024 };

type Counted = { -readonly [K in keyof ProxyDecision]: ProxyDecision[K] } & { count: number };

/** Records one attempt's decisions. */
export class EgressRecorder {
  readonly #options: EgressRecorderOptions;
  #pending = new Map<string, Counted>();
  #number = 0;
  #detailed = 0;
  readonly #noted = new Set<string>();
  #unnoted = 0;
  #isClosed = false;
  #sending: Promise<void> | undefined;
  readonly #hurry = new AbortController();
  #failure: { readonly error: unknown } | undefined;

  constructor(options: EgressRecorderOptions) {
    this.#options = options;
  }

  /** Takes one decision. Never waits, never throws. */
  record(decision: ProxyDecision): void {
    if (this.#failure !== undefined || this.#isClosed) return;
    this.#count(tidy(decision));
    if (!decision.allowed) this.#note(tidy(decision));
    this.#sending ??= this.#send();
  }

  /** Takes no more; resolves when all is reported. Throws what reporting threw for good. */
  async flush(): Promise<void> {
    this.#hurry.abort();
    this.#isClosed = true;
    while (this.#sending !== undefined) await this.#sending;
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#unnoted > 0) {
      this.#options.note({
        level: "warn",
        topic: "egress",
        message: `${this.#unnoted} more refusals of other destinations: the audit has them`,
        payload: { count: this.#unnoted },
      });
      this.#unnoted = 0;
    }
  }

  #count(decision: ProxyDecision): void {
    const isFull = this.#pending.size >= maxKinds || this.#detailed >= maxDetailed;
    const known = this.#pending.get(keyOf(decision));
    if (known !== undefined) {
      known.count += 1;
      return;
    }
    const { allowed, reason } = decision;
    const kind: ProxyDecision = isFull
      ? { allowed, host: "", port: 0, method: "", path: "", address: "", reason }
      : decision;
    const key = keyOf(kind);
    const alike = this.#pending.get(key);
    if (alike !== undefined) alike.count += 1;
    else {
      this.#pending.set(key, { ...kind, count: 1 });
      this.#detailed += 1;
    }
  }

  #note({ host, port, method, path, reason }: ProxyDecision): void {
    const key = `${host}:${port} ${reason}`;
    if (this.#noted.has(key)) return;
    if (this.#noted.size >= maxNotes) {
      this.#unnoted += 1;
      return;
    }
    this.#noted.add(key);
    const where = host === "" ? "" : ` ${host}:${port}${path}`;
    this.#options.note({
      level: "warn",
      topic: "egress",
      message: `egress refused: ${method || "a request"}${where} (${reason})`,
      payload: { host, port, method, path, reason },
    });
  }

  async #send(): Promise<void> {
    const { clock, report, onFailure } = this.#options;
    try {
      while (this.#pending.size > 0) {
        // A flush ends the wait.
        const waitMs = this.#detailed < maxDetailed ? gatherMs.first : gatherMs.later;
        await clock.sleep(waitMs, this.#hurry.signal).catch(() => {});
        const decisions = [...this.#pending.values()];
        this.#pending = new Map();
        this.#number += 1;
        await report(this.#number, decisions);
      }
    } catch (error) {
      this.#failure = { error };
      this.#pending.clear();
      onFailure(error);
    } finally {
      this.#sending = undefined;
    }
  }
}

function tidy(decision: ProxyDecision): ProxyDecision {
  return {
    ...decision,
    host: cut(decision.host, maxBytes.host),
    method: cut(decision.method, maxBytes.method),
    path: cut(redact(decision.path), maxBytes.path),
  };
}

/** Printable ASCII, so that a byte is a character. */
function cut(text: string, bytes: number): string {
  return text.replace(/[^ -~]/g, "?").slice(0, bytes);
}

function keyOf({ allowed, host, port, method, path, address, reason }: ProxyDecision): string {
  return JSON.stringify([allowed, host, port, method, path, address, reason]);
}
