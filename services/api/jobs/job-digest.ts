/** The digest of a log where no runner reports one. */
import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { JobEvent } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import type { JobRow } from "./job-rows.ts";
import type { ReadLimits } from "./job-store.ts";

/** Where the log is read. */
interface LogSource {
  readEvents(id: string, from: number, limits: ReadLimits): Promise<JobEvent[]>;
}

/** SHA-256 and size of the log of the last attempt, as a runner reports them. */
export async function digestLog(
  source: LogSource,
  row: JobRow,
): Promise<{ logSha256: string; logBytes: bigint }> {
  const hash = createHash("sha256");
  let bytes = 0;
  let from = Number(row.attempt_seq) + 1;
  while (from <= Number(row.last_seq)) {
    const events = await source.readEvents(row.id, from, { maxEvents: 1000, maxBytes: 1 << 20 });
    for (const { kind, seq } of events) {
      from = seq + 1;
      if (kind.case !== "log") continue;
      hash.update(kind.value.data);
      bytes += kind.value.data.byteLength;
    }
    if (events.length === 0) break;
    // A long log does not keep other work waiting.
    await nextTurn();
  }
  return { logSha256: hash.digest("hex"), logBytes: BigInt(bytes) };
}
