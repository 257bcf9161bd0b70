/**
 * What the load's jobs do. Their output follows from their arguments alone, so
 * that each byte of a log can be held to what it must be.
 */
import type { Random } from "./random.ts";

/** Kinds of work; `lingering` ends only when it is cancelled, `failing` with status 7. */
export const workKinds = ["lines", "bulk", "binary", "failing", "lingering"] as const;

/** One job's work. */
export interface Work {
  readonly kind: (typeof workKinds)[number];
  /** Unique; in every line, and in the arguments and environment of the job's processes. */
  readonly tag: string;
  /** How many lines, batches or records it writes. */
  readonly count: number;
  /** Rest after each, in milliseconds. */
  readonly pauseMs: number;
}

/** What a job writes if it comes to its end. */
export interface ExpectedOutput {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** Undefined: it does not end by itself. */
  readonly exitCode: number | undefined;
}

/** The exit status of `failing` work. */
const failingStatus = 7;

/** The environment variable that holds the tag in a job's processes. */
export const tagVariable = "DEVMESH_CHAOS_TAG";

const batchLines = 500;
const padding = "the quick brown fox jumps over the lazy dog and runs away from it".repeat(2);

const lineScript = `i=0
while [ $i -lt "$1" ]; do
  i=$((i+1))
  printf '%s line %07d\\n' "$0" $i
  if [ $((i%3)) -eq 0 ]; then printf '%s also %07d\\n' "$0" $i >&2; fi
  if [ "$2" != 0 ]; then sleep "$2"; fi
done
if [ "$3" = linger ]; then exec sleep 900; fi
exit "$3"`;

const bulkScript = `i=0
while [ $i -lt "$1" ]; do
  awk -v tag="$0" -v pad="$3" -v from=$((i*${batchLines})) 'BEGIN {
    for (n = from + 1; n <= from + ${batchLines}; n++) printf "%s bulk %07d %s\\n", tag, n, pad
  }' || exit 1
  i=$((i+1))
  if [ "$2" != 0 ]; then sleep "$2"; fi
done`;

/** NUL, control characters and bytes that are no UTF-8, with a number in each record. */
const binaryScript = `i=0
while [ $i -lt "$1" ]; do
  i=$((i+1))
  printf '\\000\\001\\033[31m\\377\\376\\r%s\\t%07d\\200\\303(' "$0" $i
  if [ "$2" != 0 ] && [ $((i%100)) -eq 0 ]; then sleep "$2"; fi
done`;

/** Draws a job's work; most is short, so that it can end between two kills. */
export function drawWork(random: Random, tag: string): Work {
  const draw = random.next();
  const pauseMs = random.pick([0, 20, 50, 80]);
  if (draw < 0.45) return { kind: "lines", tag, count: random.integer(3, 14), pauseMs };
  if (draw < 0.65) return { kind: "bulk", tag, count: random.integer(2, 8), pauseMs };
  if (draw < 0.8) return { kind: "binary", tag, count: random.integer(50, 1_000), pauseMs };
  if (draw < 0.88) return { kind: "failing", tag, count: random.integer(1, 9), pauseMs };
  return { kind: "lingering", tag, count: random.integer(1, 6), pauseMs };
}

/** The program and its arguments. */
export function commandOf({ kind, tag, count, pauseMs }: Work): string[] {
  const counts = [tag, String(count), pauseMs === 0 ? "0" : String(pauseMs / 1000)];
  switch (kind) {
    case "lines":
      return ["sh", "-c", lineScript, ...counts, "0"];
    case "failing":
      return ["sh", "-c", lineScript, ...counts, String(failingStatus)];
    case "lingering":
      return ["sh", "-c", lineScript, ...counts, "linger"];
    case "bulk":
      return ["sh", "-c", bulkScript, ...counts, padding];
    case "binary":
      return ["sh", "-c", binaryScript, ...counts];
  }
}

/** What that program writes. */
export function expectedOutput({ kind, tag, count }: Work): ExpectedOutput {
  switch (kind) {
    case "lines":
      return { ...lines(tag, count), exitCode: 0 };
    case "failing":
      return { ...lines(tag, count), exitCode: failingStatus };
    case "lingering":
      return { ...lines(tag, count), exitCode: undefined };
    case "bulk": {
      const all = numbered(count * batchLines, (n) => `${tag} bulk ${n} ${padding}\n`);
      return { stdout: Buffer.from(all), stderr: Buffer.alloc(0), exitCode: 0 };
    }
    case "binary": {
      const all = numbered(count, (n) => `\x00\x01\x1b[31m\xff\xfe\r${tag}\t${n}\x80\xc3(`);
      return { stdout: Buffer.from(all, "latin1"), stderr: Buffer.alloc(0), exitCode: 0 };
    }
  }
}

function lines(tag: string, count: number): { stdout: Buffer; stderr: Buffer } {
  const also = (n: string) => (Number(n) % 3 === 0 ? `${tag} also ${n}\n` : "");
  return {
    stdout: Buffer.from(numbered(count, (n) => `${tag} line ${n}\n`)),
    stderr: Buffer.from(numbered(count, also)),
  };
}

function numbered(count: number, text: (n: string) => string): string {
  return Array.from({ length: count }, (_, i) => text(String(i + 1).padStart(7, "0"))).join("");
}
