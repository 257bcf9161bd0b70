/** The handlers of `devmesh.api.v1.QueueService`. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type {
  PauseQueueRequest,
  QueueSchema,
  QueueService,
} from "@devmesh/gen/devmesh/api/v1/queue_service_pb";
import type { LimitedQueueState, Queue } from "./queue.ts";

/** The queue as a whole. */
export class QueueServiceImpl implements ServiceImpl<typeof QueueService> {
  readonly #queue: Queue;

  constructor({ queue }: { readonly queue: Queue }) {
    this.#queue = queue;
  }

  async getQueue() {
    return { queue: toQueue(await this.#queue.state()) };
  }

  async pauseQueue({ detail }: PauseQueueRequest) {
    return { queue: toQueue(await this.#queue.pause(detail)) };
  }

  async resumeQueue() {
    return { queue: toQueue(await this.#queue.resume()) };
  }
}

function toQueue(state: LimitedQueueState): MessageInitShape<typeof QueueSchema> {
  const { queued, running, paused, pauseDetail, pausedAt, maxQueued } = state;
  return {
    ...{ queued: BigInt(queued), running: BigInt(running), maxQueued: BigInt(maxQueued) },
    ...{ paused, pauseDetail },
    ...(pausedAt && { pauseTime: timestampFromDate(pausedAt) }),
  };
}
