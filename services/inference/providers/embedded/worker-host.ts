/**
 * The parent's side of a worker thread: starts it when it is first needed, ends
 * it when it has been idle, starts it anew when it has died, and keeps a
 * bounded queue before it. What the worker computes is left to the worker.
 */
import { Worker } from "node:worker_threads";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";
import { cancelled, rateLimited, throwIfCancelled, unavailable } from "../provider-errors.ts";
import { PieceQueue } from "./piece-queue.ts";
import type { FromWorker, ToWorker } from "./worker-protocol.ts";

/** What a host is made from. */
export interface WorkerHostOptions {
  /** The worker's module. */
  readonly module: URL;
  readonly workerData: unknown;
  readonly clock: Clock;
  /** Requests that may wait; more are refused. Default: 64. */
  readonly maxQueued?: number;
  /** Without a request for this long, the worker ends. Default: 300,000. */
  readonly idleMs?: number;
  /** An aborted request that does not end in this time costs the worker. Default: 5,000. */
  readonly abortGraceMs?: number;
  /** A worker that was told to end and does not in this time is ended by force. Default: 10,000. */
  readonly endGraceMs?: number;
}

interface Job<Request, Piece> {
  readonly id: number;
  readonly request: Request;
  readonly pieces: PieceQueue<Piece>;
  readonly passing: boolean;
}

/** How a request is run. */
export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  /** Goes before those that wait. Default: false. */
  readonly urgent?: boolean;
  /** Only asks for facts: a worker that did nothing else ends soon after. Default: false. */
  readonly passing?: boolean;
}

/** How long a worker that only told facts is kept. */
const passingIdleMs = 2_000;

/** Runs requests on one worker thread, one at a time. */
export class WorkerHost<Request, Piece> {
  readonly #options: Required<WorkerHostOptions>;
  readonly #waiting: Job<Request, Piece>[] = [];
  #active: Job<Request, Piece> | undefined;
  #worker: Worker | undefined;
  #idle: AbortController | undefined;
  #nextId = 1;
  /** True once the worker has done more than tell facts. */
  #warm = false;
  #closed = false;

  constructor(options: WorkerHostOptions) {
    this.#options = {
      maxQueued: 64,
      idleMs: 300_000,
      abortGraceMs: 5_000,
      endGraceMs: 10_000,
      ...options,
    };
  }

  /**
   * Runs a request. Throws RATE_LIMITED when the queue is full, CANCELLED when
   * the signal aborts, and PROVIDER_UNAVAILABLE when the worker dies meanwhile.
   */
  async *run(
    request: Request,
    { signal, urgent = false, passing = false }: RunOptions,
  ): AsyncGenerator<Piece> {
    throwIfCancelled(signal);
    if (this.#closed) throw unavailable("embedded", "it was closed");
    if (this.#waiting.length >= this.#options.maxQueued) {
      throw rateLimited("embedded", "its queue is full", 1_000);
    }
    const job = { id: this.#nextId++, request, pieces: new PieceQueue<Piece>(), passing };
    const onAbort = () => job.pieces.fail(cancelled(signal?.reason));
    signal?.addEventListener("abort", onAbort, { once: true });
    if (urgent) this.#waiting.unshift(job);
    else this.#waiting.push(job);
    this.#pump();
    try {
      yield* job.pieces;
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#abandon(job);
    }
  }

  /** Ends the worker; whoever waits gets PROVIDER_UNAVAILABLE. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const job of this.#waiting.splice(0)) job.pieces.fail(closedError());
    this.#active?.pieces.fail(closedError());
    this.#idle?.abort();
    if (this.#worker !== undefined) await this.#end(this.#worker);
  }

  /** Lets a worker end by itself; one that does not is ended by force. */
  async #end(worker: Worker): Promise<void> {
    const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
    this.#send(worker, { type: "stop" });
    const late = new AbortController();
    const force = this.#options.clock.sleep(this.#options.endGraceMs, late.signal).then(
      async () => {
        await worker.terminate();
      },
      // It ended in time.
      () => {},
    );
    await Promise.race([ended, force]);
    late.abort();
  }

  #pump(): void {
    if (this.#active !== undefined || this.#closed) return;
    const job = this.#waiting.shift();
    if (job === undefined) {
      this.#endWhenIdle();
      return;
    }
    this.#idle?.abort();
    this.#idle = undefined;
    this.#active = job;
    const worker = this.#worker ?? this.#start();
    this.#warm ||= !job.passing;
    worker.ref();
    this.#send(worker, { type: "run", id: job.id, request: job.request });
  }

  #start(): Worker {
    // An empty environment: workers need no setting and shall see no secret.
    const worker = new Worker(this.#options.module, {
      workerData: this.#options.workerData,
      env: {},
    });
    worker.on("message", (message: FromWorker<Piece>) => this.#receive(message));
    worker.on("error", (error) => this.#died(worker, error));
    worker.on("exit", () => this.#died(worker, undefined));
    this.#worker = worker;
    this.#warm = false;
    return worker;
  }

  #receive(message: FromWorker<Piece>): void {
    const job = this.#active;
    if (job?.id !== message.id) return;
    switch (message.type) {
      case "piece":
        job.pieces.push(message.piece);
        return;
      case "done":
        job.pieces.end();
        break;
      case "failed":
        job.pieces.fail(
          new DevmeshError(message.reason, message.message, { metadata: message.metadata }),
        );
        break;
      default:
        message satisfies never;
    }
    this.#active = undefined;
    this.#pump();
  }

  #died(worker: Worker, cause: Error | undefined): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const job = this.#active;
    this.#active = undefined;
    job?.pieces.fail(unavailable("embedded", "its worker ended", cause));
    this.#pump();
  }

  /** The consumer left: a waiting job goes, a running one is aborted and must end soon. */
  #abandon(job: Job<Request, Piece>): void {
    const at = this.#waiting.indexOf(job);
    if (at >= 0) this.#waiting.splice(at, 1);
    if (this.#active !== job || this.#worker === undefined) return;
    const worker = this.#worker;
    this.#send(worker, { type: "abort", id: job.id });
    void this.#options.clock.sleep(this.#options.abortGraceMs).then(() => {
      if (this.#active === job && this.#worker === worker) return worker.terminate();
    });
  }

  #endWhenIdle(): void {
    const worker = this.#worker;
    if (worker === undefined) return;
    // An idle worker does not keep the process alive.
    worker.unref();
    const idle = new AbortController();
    this.#idle = idle;
    const idleMs = this.#warm ? this.#options.idleMs : passingIdleMs;
    this.#options.clock.sleep(idleMs, idle.signal).then(
      () => {
        if (this.#idle !== idle) return;
        // Forgotten before it ends: a request that comes now starts another.
        this.#worker = undefined;
        return this.#end(worker);
      },
      // A request came first, or the host was closed.
      () => {},
    );
  }

  #send(worker: Worker, message: ToWorker<Request>): void {
    worker.postMessage(message);
  }
}

function closedError(): DevmeshError {
  return unavailable("embedded", "it was closed");
}
