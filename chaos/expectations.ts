/** What a history promises, gathered for each job that was acknowledged. */
import type { HistoryEntry } from "./history.ts";
import type { Work } from "./work.ts";

/** A run of events that a live watcher was given. */
export type WatchedRun = Extract<HistoryEntry, { kind: "watched" }>;

/** What must be true of one acknowledged job. */
export interface JobExpectation {
  readonly jobId: string;
  readonly work: Work;
  readonly maxAttempts: number;
  /** True: somebody may have cancelled it. */
  readonly cancelAsked: boolean;
  /** True: the platform has taken a cancel of it. */
  readonly cancelled: boolean;
  /** True: its program may have been killed from outside. */
  readonly programKilled: boolean;
  readonly watched: readonly WatchedRun[];
}

/** What a history promises. */
export interface Expectations {
  /** How many answers acknowledged a job, replays included. */
  readonly acknowledgements: number;
  readonly jobs: readonly JobExpectation[];
  /** The jobs that each key was answered with; more than one is a defect. */
  readonly idsOfKey: ReadonlyMap<string, ReadonlySet<string>>;
  /** For each tag, the ids that were acknowledged and how many keys were never answered. */
  readonly tags: ReadonlyMap<string, { readonly ids: Set<string>; unanswered: number }>;
  readonly refusals: readonly Extract<HistoryEntry, { kind: "refused" }>[];
}

/** Gathers them. */
export function expectationsOf(entries: readonly HistoryEntry[]): Expectations {
  const of = <K extends HistoryEntry["kind"]>(kind: K) =>
    entries.filter((entry): entry is Extract<HistoryEntry, { kind: K }> => entry.kind === kind);
  const accepted = of("accepted");
  const cancelAsked = new Set(of("cancel-asked").map(({ jobId }) => jobId));
  const cancelled = new Set(of("cancelled").map(({ jobId }) => jobId));
  const killed = new Set(of("program-killed").map(({ tag }) => tag));
  const watched = Map.groupBy(of("watched"), ({ jobId }) => jobId);
  const idsOfKey = new Map<string, Set<string>>();
  for (const { key, jobId } of accepted)
    idsOfKey.set(key, idsOfKey.get(key)?.add(jobId) ?? new Set([jobId]));
  const jobs = new Map<string, JobExpectation>();
  const tags = new Map<string, { ids: Set<string>; unanswered: number }>();
  for (const { key, work, maxAttempts } of of("asked")) {
    const tag = tags.get(work.tag) ?? { ids: new Set<string>(), unanswered: 0 };
    tags.set(work.tag, tag);
    const ids = idsOfKey.get(key);
    if (ids === undefined) tag.unanswered += 1;
    for (const jobId of ids ?? []) {
      tag.ids.add(jobId);
      jobs.set(jobId, {
        jobId,
        work,
        maxAttempts,
        cancelAsked: cancelAsked.has(jobId) || cancelled.has(jobId),
        cancelled: cancelled.has(jobId),
        programKilled: killed.has(work.tag),
        watched: watched.get(jobId) ?? [],
      });
    }
  }
  return {
    acknowledgements: accepted.length,
    jobs: [...jobs.values()],
    idsOfKey,
    tags,
    refusals: of("refused"),
  };
}
