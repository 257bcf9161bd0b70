/** The worker's side of the protocol: takes requests, aborts them, reports how they end. */
import { parentPort } from "node:worker_threads";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { FromWorker, ToWorker } from "./worker-protocol.ts";

/** Does one request. Calls `emit` for each piece; stops when the signal aborts. */
export type WorkerHandler<Request, Piece> = (
  request: Request,
  emit: (piece: Piece) => void,
  signal: AbortSignal,
) => Promise<void>;

/** Serves the parent until it ends this thread. */
export function serveParent<Request, Piece>(handle: WorkerHandler<Request, Piece>): void {
  const port = parentPort;
  if (port === null) throw new Error("this module runs in a worker thread only");
  const running = new Map<number, { controller: AbortController; ended: Promise<void> }>();
  const send = (message: FromWorker<Piece>) => port.postMessage(message);
  port.on("message", (message: ToWorker<Request>) => {
    switch (message.type) {
      case "abort":
        running.get(message.id)?.controller.abort();
        return;
      case "stop":
        void stop();
        return;
      case "run":
        run(message.id, message.request);
        return;
      default:
        message satisfies never;
    }
  });

  const run = (id: number, request: Request) => {
    const controller = new AbortController();
    const ended = handle(request, (piece) => send({ type: "piece", id, piece }), controller.signal)
      .then(
        () => send({ type: "done", id }),
        (error: unknown) => send({ type: "failed", id, ...failureOf(error) }),
      )
      .finally(() => running.delete(id));
    running.set(id, { controller, ended });
  };

  // A thread that is ended inside a native call takes the whole process with it.
  const stop = async () => {
    for (const { controller } of running.values()) controller.abort();
    await Promise.all([...running.values()].map(({ ended }) => ended));
    process.exit(0);
  };
}

function failureOf(error: unknown) {
  if (error instanceof DevmeshError) {
    const { reason, message, metadata } = error;
    return { reason, message, metadata };
  }
  const what = error instanceof Error ? error.message : String(error);
  return {
    reason: "PROVIDER_UNAVAILABLE" as const,
    message: `embedded: ${what}`,
    metadata: { provider: "embedded" },
  };
}
