/**
 * Plays the log of earlier work: no model is asked for an answer that is in it,
 * and no call is done again whose files are there. What was done after the last
 * kept files is done anew, from the answers of the log.
 */
import type { ModelTurn } from "./model/chat-model.ts";
import type { LoggedCall, LoggedTurn, LoggedWord, Resume } from "./resume.ts";

/** The log of one job. */
export class Replay {
  readonly #rest: (LoggedTurn | LoggedWord)[];
  readonly #results: ReadonlyMap<string, LoggedCall>;

  constructor(resume: Resume | undefined) {
    const entries = resume?.entries ?? [];
    this.#rest = entries.filter((entry) => entry.type !== "call");
    this.#results = resume === undefined ? new Map() : resultsThatHold(resume);
  }

  /** True while there is more to play. */
  get hasMore(): boolean {
    return this.#rest.length > 0;
  }

  /** The protocol of the last turn of the log; undefined if it has none. */
  get protocol(): "native" | "text" | undefined {
    return this.#rest.findLast((entry) => entry.type === "turn")?.protocol;
  }

  /** The next turn or word of the log. */
  next(): (ModelTurn & { readonly type: "turn"; readonly step: number }) | LoggedWord | undefined {
    return this.#rest.shift();
  }

  /** What a call gave; undefined if it must be done (again). */
  resultOf(step: number, id: string): LoggedCall | undefined {
    return this.#results.get(keyOf(step, id));
  }
}

/** Results up to the first change that is not in the kept files. */
function resultsThatHold({ entries, files }: Resume): ReadonlyMap<string, LoggedCall> {
  // A call that was done again is there twice: the later is the one that holds.
  const last = new Map<string, LoggedCall>();
  const calls = entries.filter((entry) => entry.type === "call");
  for (const call of calls) last.set(keyOf(call.step, call.id), call);
  if (files === "all") return last;
  const order = callsInOrder(entries);
  const kept = files === undefined ? -1 : order.indexOf(keyOf(files.step, files.call));
  const held = new Map<string, LoggedCall>();
  for (const [index, key] of order.entries()) {
    const call = last.get(key);
    if (call === undefined || (index > kept && call.changed)) break;
    held.set(key, call);
  }
  return held;
}

function callsInOrder(entries: Resume["entries"]): string[] {
  return entries.flatMap((entry) =>
    entry.type === "turn" ? entry.calls.map(({ id }) => keyOf(entry.step, id)) : [],
  );
}

function keyOf(step: number, id: string): string {
  return `${step} ${id}`;
}
