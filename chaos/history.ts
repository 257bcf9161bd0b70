/**
 * What the platform has acknowledged to its clients, noted before anything is
 * built on it. Append-only, in memory and in a file with one JSON line each.
 */
import { appendFileSync, readFileSync } from "node:fs";
import type { Work } from "./work.ts";

/** The label that holds a job's tag. */
export const tagLabel = "chaos";

/** One line of the history. */
export type HistoryEntry =
  | {
      /** A client is about to ask for a job; it may or may not come to be. */
      readonly kind: "asked";
      readonly key: string;
      readonly work: Work;
      readonly maxAttempts: number;
      /** The ended job that is to be done again. Absent: a new one. */
      readonly retryOf?: string;
    }
  /** The platform said that this key has made this job. */
  | {
      readonly kind: "accepted";
      readonly key: string;
      readonly jobId: string;
      readonly replayed: boolean;
    }
  /** A client is about to cancel. */
  | { readonly kind: "cancel-asked"; readonly jobId: string }
  /** The platform took a cancel. */
  | { readonly kind: "cancelled"; readonly jobId: string }
  /** A process of a job with this tag was killed from outside. */
  | { readonly kind: "program-killed"; readonly tag: string }
  | {
      /** What a live watcher was given, in order and once, over any number of connections. */
      readonly kind: "watched";
      readonly jobId: string;
      readonly from: number;
      readonly events: number;
      /** See `EventDigest`. */
      readonly sha256: string;
    }
  /** Something was answered that must not be, whatever was killed. */
  | { readonly kind: "refused"; readonly jobId: string; readonly what: string }
  /** A part was struck; for people. */
  | {
      readonly kind: "struck";
      readonly part: string;
      readonly action: "kill" | "stall" | "cut";
      readonly atMs: number;
    };

/** Notes what was acknowledged. */
export class History {
  readonly #entries: HistoryEntry[] = [];
  readonly #path: string | undefined;
  #acknowledgements = 0;

  /** `path`: also written there. Absent: in memory only. */
  constructor(path?: string) {
    this.#path = path;
  }

  /** All lines so far, oldest first. */
  get entries(): readonly HistoryEntry[] {
    return this.#entries;
  }

  /** How many answers acknowledged a job. */
  get acknowledgements(): number {
    return this.#acknowledgements;
  }

  add(entry: HistoryEntry): void {
    this.#entries.push(entry);
    if (entry.kind === "accepted") this.#acknowledgements += 1;
    if (this.#path !== undefined) appendFileSync(this.#path, `${JSON.stringify(entry)}\n`);
  }
}

/** Reads a history's file. */
export function readHistory(path: string): HistoryEntry[] {
  const lines = readFileSync(path, "utf8").split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line) as HistoryEntry);
}
