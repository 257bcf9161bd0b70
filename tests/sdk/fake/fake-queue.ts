/** The queue and the runners of the fake server: what can be paused and drained. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter } from "@connectrpc/connect";
import { type Agent, AgentSchema, AgentStatus } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { AgentService } from "@devmesh/gen/devmesh/api/v1/agent_service_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { type QueueSchema, QueueService } from "@devmesh/gen/devmesh/api/v1/queue_service_pb";
import { notFound } from "@devmesh/mesh/errors";
import type { FakeJobs } from "./fake-jobs.ts";

/** A queue that pauses and a runner that drains; both only say so. */
export class FakeQueue {
  readonly agents: Agent[] = [
    create(AgentSchema, {
      id: "runner-1",
      host: "fake",
      version: "0.1.0",
      capacity: 2,
      status: AgentStatus.ALIVE,
      lastSeen: timestampNow(),
      capabilities: [
        { driver: "process", isolation: Isolation.PROCESS, available: true, engine: "bwrap" },
        {
          driver: "docker",
          isolation: Isolation.CONTAINER,
          available: false,
          reason: "no engine answers",
          remedy: "start dockerd",
        },
      ],
    }),
  ];
  readonly #jobs: FakeJobs;
  #pause: Pick<MessageInitShape<typeof QueueSchema>, "pauseDetail" | "pauseTime"> | undefined;

  constructor({ jobs }: { readonly jobs: FakeJobs }) {
    this.#jobs = jobs;
  }

  /** Registers both services. */
  register(router: ConnectRouter): void {
    router.service(QueueService, {
      getQueue: () => ({ queue: this.#queue() }),
      pauseQueue: ({ detail }) => {
        this.#pause ??= { pauseDetail: detail, pauseTime: timestampNow() };
        return { queue: this.#queue() };
      },
      resumeQueue: () => {
        this.#pause = undefined;
        return { queue: this.#queue() };
      },
    });
    router.service(AgentService, {
      listAgents: () => ({ agents: this.agents }),
      drainAgent: ({ id }) => ({ agent: this.#setStatus(id, AgentStatus.DRAINING) }),
      resumeAgent: ({ id }) => ({ agent: this.#setStatus(id, AgentStatus.ALIVE) }),
    });
  }

  #queue(): MessageInitShape<typeof QueueSchema> {
    const count = (wanted: JobStatus) =>
      BigInt(this.#jobs.all().filter(({ status }) => status === wanted).length);
    return {
      queued: count(JobStatus.QUEUED),
      running: count(JobStatus.RUNNING),
      maxQueued: 1000n,
      paused: this.#pause !== undefined,
      ...this.#pause,
    };
  }

  #setStatus(id: string, status: AgentStatus): Agent {
    const agent = this.agents.find((candidate) => candidate.id === id);
    if (agent === undefined) throw notFound("runner", id);
    agent.status = status;
    return agent;
  }
}
