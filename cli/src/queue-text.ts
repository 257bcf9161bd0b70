/** Owns how the queue is shown, as text and as JSON. */
import { toJson } from "@bufbuild/protobuf";
import type { QueueState } from "@devmesh/sdk";
import { QueueSchema } from "@devmesh/sdk/raw";
import { showTime } from "./job-text.ts";
import type { Output } from "./output.ts";
import { inline } from "./table.ts";

/** Shows it where the command's data goes. */
export async function showQueue(queue: QueueState, output: Output): Promise<void> {
  if (output.json) {
    await output.document({ queue: toJson(QueueSchema, queue, { alwaysEmitImplicit: true }) });
    return;
  }
  const { queued, running, paused, pauseDetail, pauseTime, maxQueued } = queue;
  const why = pauseDetail === "" ? "" : `: ${inline(pauseDetail, 300)}`;
  const state = paused ? `paused since ${showTime(pauseTime)}${why}` : "open";
  const bound = maxQueued > 0n ? ` of ${maxQueued}` : "";
  await output.data(`state      ${state}\nqueued     ${queued}${bound}\nrunning    ${running}\n`);
}
