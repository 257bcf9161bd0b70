/**
 * Clients that work with the platform while it is struck: keyed creates, some
 * twice at the same time; live watchers; cancels; retries of ended jobs.
 */
import { setTimeout as delay } from "node:timers/promises";
import {
  type CreatedJob,
  type IsolationName,
  isFinalStatus,
  type Job,
  JobStatus,
  type NodeDevmesh,
} from "@devmesh/sdk/node";
import type { Clients } from "./clients.ts";
import { type History, tagLabel } from "./history.ts";
import type { Random } from "./random.ts";
import { watchJob } from "./watcher.ts";
import { commandOf, drawWork, tagVariable, type Work } from "./work.ts";

/** What the load needs. */
export interface LoadOptions {
  readonly clients: Clients;
  readonly history: History;
  readonly random: Random;
  /** The run's id: tags and keys begin with it. */
  readonly run: string;
  /** How many clients work at the same time. */
  readonly workers: number;
  /** What jobs may ask for, weakest first. */
  readonly isolations: readonly IsolationName[];
  /** Aborts when nobody waits any longer. */
  readonly signal: AbortSignal;
}

/** The most attempts that the contract allows: kills do not use them up. */
const maxAttempts = 20;

/** How often a job is looked at by those that do not watch it. */
const pollMs = 150;

/** One round of clients that work until they are told to stop. */
export class Load {
  readonly #options: LoadOptions;
  /** The tags of jobs that are under way. */
  readonly active = new Set<string>();
  #running = true;
  #workers: Promise<unknown> = Promise.resolve();

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  start(): void {
    const { workers, random } = this.#options;
    const all = Array.from({ length: workers }, (_, i) =>
      this.#work(i, random.fork(`worker-${i}`)),
    );
    this.#workers = Promise.all(all);
    // Whoever settles is told.
    this.#workers.catch(() => {});
  }

  /** Asks for no more jobs, and resolves when all that there are have ended. */
  async settle(): Promise<void> {
    this.#running = false;
    await this.#workers;
  }

  async #work(worker: number, random: Random): Promise<void> {
    const { run, signal } = this.#options;
    for (let round = 0; this.#running && !signal.aborted; round++) {
      const burst = random.pick([1, 1, 2, 3]);
      const jobs = Array.from({ length: burst }, (_, i) => {
        const tag = `chaos-${run}-${worker}-${round}-${i}`;
        return this.#oneJob(tag, random.fork(`${round}-${i}`));
      });
      await Promise.all(jobs);
    }
  }

  /** A job from its key to its end, and sometimes once more. */
  async #oneJob(tag: string, random: Random): Promise<void> {
    const { history, signal } = this.#options;
    const work = drawWork(random, tag);
    this.active.add(tag);
    const input = {
      isolation: drawIsolation(this.#options.isolations, random),
      command: commandOf(work),
      env: { [tagVariable]: tag },
      labels: { [tagLabel]: tag },
      maxAttempts,
    };
    try {
      const jobId = await this.#ask(work, random, (client, idempotencyKey) =>
        client.jobs.create(input, { idempotencyKey, signal }),
      );
      const ended = await this.#follow(jobId, work, random);
      const mayRetry = ended !== undefined && ended !== JobStatus.SUCCEEDED;
      if (!mayRetry || !this.#running || !random.chance(0.3)) return;
      const again = await this.#ask(
        work,
        random,
        (client, idempotencyKey) => client.jobs.retry(jobId, { idempotencyKey, signal }),
        jobId,
      );
      await this.#follow(again, work, random);
    } catch (error) {
      // The run is over; what was not answered is in the history as asked only.
      if (signal.aborted) return;
      const what = error instanceof Error ? error.message : String(error);
      history.add({ kind: "refused", jobId: tag, what: `asked for a job: ${what}` });
    } finally {
      this.active.delete(tag);
    }
  }

  /** Asks until it is answered; some ask twice at the same time. Answers the job's id. */
  async #ask(
    work: Work,
    random: Random,
    call: (client: NodeDevmesh, key: string) => Promise<CreatedJob>,
    retryOf?: string,
  ): Promise<string> {
    const { clients, history, signal } = this.#options;
    const key = retryOf === undefined ? work.tag : `${work.tag}-again`;
    history.add({ kind: "asked", key, work, maxAttempts, ...(retryOf && { retryOf }) });
    const askers = random.chance(0.25) ? 2 : 1;
    const ids = Array.from({ length: askers }, async (_, i) => {
      const scope = { random: random.fork(`asker-${i}`), signal };
      const made = await clients.untilAnswered((client) => call(client, key), scope);
      const { jobId, replayed } = made;
      history.add({ kind: "accepted", key, jobId, replayed });
      return jobId;
    });
    const [jobId = ""] = await Promise.all(ids);
    return jobId;
  }

  /** Sees a job to its end; undefined if that had to be given up. */
  async #follow(jobId: string, work: Work, random: Random): Promise<JobStatus | undefined> {
    const cancels = work.kind === "lingering" || random.chance(0.08);
    const watchers = random.pick([0, 1, 1, 2]);
    const results = Array.from({ length: watchers }, (_, i) =>
      watchJob(jobId, { ...this.#options, random: random.fork(`watcher-${i}`) }),
    );
    if (cancels) await this.#cancel(jobId, random.fork("cancel"));
    const seen = await Promise.all(results);
    const result = seen.find((one) => one !== undefined);
    if (result !== undefined) return result.outcome;
    return this.#untilEnded(jobId, random.fork("poll"));
  }

  async #cancel(jobId: string, random: Random): Promise<void> {
    const { clients, history, signal } = this.#options;
    await delay(random.integer(0, 1_500), undefined, { signal });
    history.add({ kind: "cancel-asked", jobId });
    try {
      const scope = { random, signal };
      await clients.untilAnswered((client) => client.jobs.cancel(jobId, { signal }), scope);
      history.add({ kind: "cancelled", jobId });
    } catch (error) {
      // It has ended before.
      const ended = error instanceof Error && "reason" in error && error.reason === "WRONG_STATE";
      if (!ended) throw error;
    }
  }

  async #untilEnded(jobId: string, random: Random): Promise<JobStatus | undefined> {
    const { clients, signal } = this.#options;
    while (!signal.aborted) {
      const get = (client: NodeDevmesh): Promise<Job> => client.jobs.get(jobId, { signal });
      const { status } = await clients.untilAnswered(get, { random, signal });
      if (isFinalStatus(status)) return status;
      await delay(pollMs, undefined, { signal });
    }
    return undefined;
  }
}

/** The weakest is asked for most: the strongest takes the most of the host. */
function drawIsolation(isolations: readonly IsolationName[], random: Random): IsolationName {
  const [weakest = "process", ...others] = isolations;
  // One kind only: nothing is drawn, so that a seed means the same as ever.
  if (others.length === 0 || !random.chance(0.4)) return weakest;
  return random.chance(0.75) ? (others[0] ?? weakest) : (others.at(-1) ?? weakest);
}
