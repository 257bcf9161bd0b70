/** The noun `queue`: how full it is, pause and resume. */
import type { Client } from "@connectrpc/connect";
import { type Caller, present } from "../caller.ts";
import type { QueueService, Queue as QueueState } from "../gen/devmesh/api/v1/queue_service_pb.js";
import type { CallOptions } from "../options.ts";

/** The queue as a whole. */
export class Queue {
  readonly #client: Client<typeof QueueService>;
  readonly #caller: Caller;

  /** Made by `createDevmesh`. */
  constructor(deps: { readonly client: Client<typeof QueueService>; readonly caller: Caller }) {
    this.#client = deps.client;
    this.#caller = deps.caller;
  }

  /** How many jobs wait and run, and whether the queue is paused. */
  async get(options?: CallOptions): Promise<QueueState> {
    const answer = await this.#caller.unary((o) => this.#client.getQueue({}, o), options);
    return present(answer.queue, "queue");
  }

  /** Starts no more jobs; what runs goes on. `detail` says why. Safe to repeat. */
  async pause(options: CallOptions & { readonly detail?: string } = {}): Promise<QueueState> {
    const request = { detail: options.detail ?? "" };
    const answer = await this.#caller.unary((o) => this.#client.pauseQueue(request, o), options);
    return present(answer.queue, "queue");
  }

  /** Starts jobs again. Safe to repeat. */
  async resume(options?: CallOptions): Promise<QueueState> {
    const answer = await this.#caller.unary((o) => this.#client.resumeQueue({}, o), options);
    return present(answer.queue, "queue");
  }
}
