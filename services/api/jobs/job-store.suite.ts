/**
 * What every job store holds to. Each test starts with an empty store; leases
 * run out by a time to live of zero, so that nothing waits.
 */
import { acceptSuite } from "./job-store.suite.accept.ts";
import { answersSuite } from "./job-store.suite.answers.ts";
import type { JobStoreBed } from "./job-store.suite.bed.ts";
import { endingsSuite } from "./job-store.suite.endings.ts";
import { eventsSuite } from "./job-store.suite.events.ts";
import { leasesSuite } from "./job-store.suite.leases.ts";
import { modelSuite } from "./job-store.suite.model.ts";
import { placementSuite } from "./job-store.suite.placement.ts";
import { queueSuite } from "./job-store.suite.queue.ts";
import { retriesSuite } from "./job-store.suite.retries.ts";
import { stormSuite } from "./job-store.suite.storm.ts";

export type { JobStoreBed } from "./job-store.suite.bed.ts";

/** Declares the suite's tests. `modelRuns`: how many random runs against the reference. */
export function jobStoreSuite(bed: JobStoreBed, { modelRuns }: { readonly modelRuns: number }) {
  acceptSuite(bed);
  leasesSuite(bed);
  eventsSuite(bed);
  endingsSuite(bed);
  answersSuite(bed);
  queueSuite(bed);
  placementSuite(bed);
  retriesSuite(bed);
  stormSuite(bed);
  modelSuite(bed, modelRuns);
}
