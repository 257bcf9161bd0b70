/**
 * Small services behind real contracts. What a call asks for decides what
 * happens to it, so that every way in can be put through the same things.
 */
import { createHash, randomBytes } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  BlobService,
  type PutBlobRequest,
  PutBlobResponseSchema,
} from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { InferService } from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import {
  JobService,
  type WatchJobRequest,
  WatchJobResponseSchema,
} from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { notFound } from "@devmesh/mesh/errors";
import { type ServiceRegistration, serve } from "@devmesh/mesh/server";
import { Marks } from "./waiting.ts";

/** What no caller may ever read. */
export const secretText = "password=hunter2 at driver.c:42";

/** The events of the stream `flood`: 16 MiB. */
export const floodSize = 4_096;

/** What compresses well fills no buffer: this does not. */
const noise = new Uint8Array(randomBytes(4_096));

/** The text that `Infer` answers: as long as the input says, or the input itself. */
export function textFor(input: string): string {
  const size = /^size:(\d+)$/.exec(input)?.[1];
  return size === undefined ? input : "ж".repeat(Number(size) / 2);
}

/** The bytes of event `seq`: every value that a byte can have. */
export function bytesOf(seq: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: 256 }, (_, i) => (i + seq) % 256);
}

/** The services, and what a test may know of the calls that reached them. */
export class FakeServices {
  readonly marks = new Marks();
  /** Messages that `flood` has handed out. */
  produced = 0;

  /** All of them, to be served. */
  registrations(): ServiceRegistration[] {
    return [
      serve(SandboxService, {
        probeHost: () => ({ host: "fake", drivers: [{ driver: "process", available: true }] }),
        listSandboxes: () => ({}),
        deleteSandbox: ({ id }, context) => this.#deleteSandbox(id, context),
      }),
      serve(BlobService, {
        putBlob: (requests, context) => this.#putBlob(requests, context),
        getBlob: async function* ({ sha256 }) {
          for (const seq of [1, 2]) yield { data: bytesOf(seq) };
          yield { data: new Uint8Array(5 * 1024 * 1024).fill(Number.parseInt(sha256, 16) % 256) };
        },
        statBlob: () => ({ exists: true, sizeBytes: 2n ** 60n }),
      }),
      serve(InferService, {
        infer: ({ input }) => ({ text: textFor(input) }),
        async *streamInfer() {},
        listModels: () => ({}),
      }),
      serve(JobService, {
        watchJob: (req: WatchJobRequest, context: HandlerContext) => this.#watchJob(req, context),
      } as Partial<ServiceImpl<typeof JobService>> as ServiceImpl<typeof JobService>),
    ];
  }

  async #deleteSandbox(id: string, context: HandlerContext) {
    if (id === "gone") throw notFound("sandbox", id);
    if (id === "boom") throw new Error(secretText);
    if (id.startsWith("hold")) {
      this.marks.set(`${id} started`, context.timeoutMs());
      await aborted(context.signal);
      this.marks.set(`${id} aborted`, context.signal.reason);
      throw context.signal.reason;
    }
    if (id.startsWith("gate")) {
      this.marks.set(`${id} started`);
      await this.marks.when(`${id} opened`);
    }
    return {};
  }

  async #putBlob(requests: AsyncIterable<PutBlobRequest>, { signal }: HandlerContext) {
    const hash = createHash("sha256");
    let size = 0n;
    signal.addEventListener("abort", () => this.marks.set("put aborted", signal.reason));
    let how = "failed";
    try {
      for await (const { data } of requests) {
        this.marks.set("put started");
        hash.update(data);
        size += BigInt(data.length);
      }
      how = "whole";
    } finally {
      this.marks.set("put ended", how);
    }
    return create(PutBlobResponseSchema, { sha256: hash.digest("hex"), sizeBytes: size });
  }

  async *#watchJob({ id, from }: WatchJobRequest, { signal, timeoutMs }: HandlerContext) {
    if (id === "refused") throw notFound("job", id);
    this.marks.set(`${id} started`, timeoutMs());
    try {
      if (id === "flood") {
        while (this.produced < floodSize) yield event(++this.produced, noise);
        return;
      }
      for (let seq = Math.max(1, from); seq <= 3; seq++) {
        yield event(seq);
        if (id === "keepalive" && seq === 1) yield keepalive;
        if (id === "breaks" && seq === 2) throw new Error(secretText);
        if (id === "vanishes" && seq === 2) throw notFound("job", id);
        if (id.startsWith("silent")) {
          await aborted(signal);
          throw signal.reason;
        }
      }
    } finally {
      this.marks.set(`${id} ended`, signal.reason);
    }
  }
}

type Step = MessageInitShape<typeof WatchJobResponseSchema>["step"];

const keepalive = create(WatchJobResponseSchema, {
  step: { case: "keepalive", value: { interval: { seconds: 15n } } },
});

function event(seq: number, data = bytesOf(seq)) {
  const log = { case: "log", value: { data } } as const;
  const step: Step = { case: "event", value: { seq, kind: log } };
  return create(WatchJobResponseSchema, { step });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
