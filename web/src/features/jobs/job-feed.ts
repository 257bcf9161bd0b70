/**
 * Owns watching a job over its WebSocket: it resumes by sequence number over
 * broken connections, so that every event arrives once. What an event means
 * is left to `live-log.ts`.
 */
import { type Backoff, backoffMs } from "../../ui/backoff.ts";
import type { Clock } from "../../ui/clock.ts";
import { type JobFrame, parseFrame } from "./job-frame.ts";

/** How the connection does. */
export type FeedState = "connecting" | "live" | "reconnecting" | "offline" | "ended" | "refused";

/** The part of a WebSocket that a feed uses. */
export interface Socket {
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  close(code?: number, reason?: string): void;
}

/** A server's no. */
export interface Refusal {
  readonly reason: string;
  readonly message: string;
}

/** What a feed needs of its surroundings. */
export interface FeedDeps {
  /** Opens one connection whose first event has the number `from`. */
  readonly open: (from: number) => Socket;
  /**
   * Asks by another way why a connection was not opened: a browser's WebSocket
   * does not say. Undefined: nothing speaks against it.
   */
  readonly whyNot: () => Promise<Refusal | undefined>;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** False while the device knows that it has no network. */
  readonly isOnline: () => boolean;
  /** Each event once, in order; errors of the server as they come. */
  readonly onFrame: (frame: Exclude<JobFrame, { type: "heartbeat" }>) => void;
  readonly onState: (state: FeedState) => void;
}

/** The waits between tries. */
export const feedBackoff: Backoff = { firstMs: 500, mostMs: 15_000 };
/** Silence after which a connection counts as dead: some missed heartbeats. */
export const idleMs = 60_000;

/** Errors after which another try gives the same answer. */
const finalReasons = new Set(["NOT_FOUND", "UNAUTHENTICATED", "SCOPE_MISSING", "INVALID_FIELD"]);
/** Close codes that mean the same: policy violation, and 4xxx that carry an HTTP status. */
const finalCodes = new Set([1008, 4400, 4401, 4403, 4404]);

/** One job's events, live. */
export class JobFeed {
  readonly #deps: FeedDeps;
  #lastSeq = 0;
  #failures = 0;
  #state: FeedState = "connecting";
  #socket: Socket | undefined;
  #stopWait: (() => void) | undefined;
  #stopWatch: (() => void) | undefined;

  constructor(deps: FeedDeps) {
    this.#deps = deps;
  }

  /** The number of the last event that arrived. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Connects for the first time. */
  start(): void {
    this.#connect();
  }

  /** Ends the feed for good. */
  stop(): void {
    this.#drop();
    this.#stopWait?.();
    this.#stopWait = undefined;
    this.#state = "ended";
  }

  /** Tries at once if it waits: the network or the page came back. */
  wake(): void {
    if (this.#stopWait === undefined) {
      if (this.#state === "live" && !this.#deps.isOnline()) this.#lost();
      return;
    }
    if (!this.#deps.isOnline()) return;
    this.#stopWait();
    this.#connect();
  }

  #connect(): void {
    this.#stopWait = undefined;
    const socket = this.#deps.open(this.#lastSeq + 1);
    this.#socket = socket;
    this.#watch();
    let isOpened = false;
    socket.onopen = () => {
      if (this.#socket !== socket) return;
      isOpened = true;
      this.#set("live");
      this.#watch();
    };
    socket.onmessage = ({ data }) => {
      if (this.#socket === socket) this.#take(data);
    };
    socket.onclose = ({ code, reason }) => {
      if (this.#socket !== socket) return;
      if (finalCodes.has(code)) this.#refuse("", reason || `the stream was refused (${code})`);
      else {
        this.#lost();
        if (!isOpened) void this.#askWhyNot();
      }
    };
  }

  /** A no ends the tries, unless one has succeeded meanwhile. */
  async #askWhyNot(): Promise<void> {
    const refusal = await this.#deps.whyNot();
    if (refusal === undefined || !finalReasons.has(refusal.reason)) return;
    if (this.#state !== "reconnecting" && this.#state !== "offline") return;
    this.#stopWait?.();
    this.#stopWait = undefined;
    this.#refuse(refusal.reason, refusal.message);
  }

  #take(data: unknown): void {
    const frame = parseFrame(data);
    if (frame === undefined) {
      // A peer that sends what is no frame is not what it should be.
      this.#lost();
      return;
    }
    this.#watch();
    if (frame.type === "heartbeat") this.#failures = 0;
    else if (frame.type === "error") this.#takeError(frame.reason, frame.message);
    else this.#takeEvent(frame);
  }

  #takeError(reason: string, message: string): void {
    if (finalReasons.has(reason)) this.#refuse(reason, message);
    else this.#lost();
  }

  #takeEvent(frame: Extract<JobFrame, { seq: number }>): void {
    if (frame.seq <= this.#lastSeq) return;
    // A trim stands for all numbers up to its own.
    const isKnownGap = frame.type === "trim" && frame.firstSeq <= this.#lastSeq + 1;
    if (frame.seq !== this.#lastSeq + 1 && !isKnownGap) {
      // A gap is never shown: the connection is made again from what is missing.
      this.#lost();
      return;
    }
    this.#failures = 0;
    this.#lastSeq = frame.seq;
    this.#deps.onFrame(frame);
    if (frame.type !== "result") return;
    this.#drop();
    this.#set("ended");
  }

  #refuse(reason: string, message: string): void {
    this.#drop();
    this.#set("refused");
    this.#deps.onFrame({ type: "error", reason, message });
  }

  #lost(): void {
    this.#drop();
    this.#failures++;
    this.#set(this.#deps.isOnline() ? "reconnecting" : "offline");
    const ms = backoffMs(feedBackoff, this.#failures, this.#deps.random());
    this.#stopWait = this.#deps.clock.after(ms, () => this.#connect());
  }

  /** Lets go of the connection; nothing it still sends is heard. */
  #drop(): void {
    this.#stopWatch?.();
    this.#stopWatch = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket === undefined) return;
    socket.onopen = null;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close(1000, "done");
  }

  #watch(): void {
    this.#stopWatch?.();
    this.#stopWatch = this.#deps.clock.after(idleMs, () => this.#lost());
  }

  #set(state: FeedState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#deps.onState(state);
  }
}
