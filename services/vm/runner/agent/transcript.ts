/**
 * An agent's conversation as its notes tell it: from it another start of the
 * agent goes on. What the notes look like is the agent's; see `docs/agents.md`.
 */

/** Facts of a note, as JSON. */
export type Facts = Readonly<Record<string, unknown>>;

/** All of a transcript must fit into the agent's input. */
const maxBytes = 12 * 1024 * 1024;

/** Collects the turns and calls of one job. */
export class AgentTranscript {
  #entries: { readonly fields: Facts; readonly bytes: number }[] = [];
  #parts = new Map<number, string[]>();
  #bytes = 0;
  /** The first turn that could not be kept whole; what follows it is not kept either. */
  #broken: number | undefined;

  /** The entries as the agent's input has them, in order. */
  get entries(): readonly Facts[] {
    return this.#entries.map(({ fields }) => fields);
  }

  /** Takes a note of the agent, by its topic; others are passed over. */
  take(topic: string, payload: Facts): void {
    const step = payload.step;
    if (typeof step !== "number") return;
    if (topic === "agent.turn") this.#turn(step, payload);
    else if (topic === "agent.call" && this.#broken === undefined) this.#call(step, payload);
  }

  /** Takes a word of a person. */
  word(text: string): void {
    if (text !== "" && this.#broken === undefined) this.#add({ type: "user", text });
  }

  /** Forgets all: the work begins anew. */
  clear(): void {
    this.#entries = [];
    this.#parts.clear();
    this.#bytes = 0;
    this.#broken = undefined;
  }

  #turn(step: number, payload: Facts): void {
    if (typeof payload.piece === "string" && typeof payload.part === "number") {
      const parts = payload.part === 1 ? [] : (this.#parts.get(step) ?? []);
      parts[payload.part - 1] = payload.piece;
      this.#parts.set(step, parts);
      return;
    }
    // A turn that was asked for again stands in for the earlier one.
    this.#dropFrom(step);
    const said = saidIn(payload, this.#parts.get(step) ?? []);
    this.#parts.delete(step);
    if (said === undefined || this.#broken !== undefined) {
      this.#broken ??= step;
      return;
    }
    const { cut, inputTokens, outputTokens, exactUsage, costMicros, model, protocol } = payload;
    const usage = { inputTokens, outputTokens, exactUsage, costMicros };
    this.#add({ type: "turn", step, ...said, cut, ...usage, model, protocol });
  }

  #call(step: number, payload: Facts): void {
    const { id, outcome, result: text, changed, command } = payload;
    this.#add({ type: "call", step, id, outcome, text, changed, command });
  }

  #dropFrom(step: number): void {
    if (this.#broken !== undefined && step <= this.#broken) this.#broken = undefined;
    const at = this.#entries.findIndex(({ fields }) => Number(fields.step ?? -1) >= step);
    if (at < 0) return;
    for (const { bytes } of this.#entries.splice(at)) this.#bytes -= bytes;
  }

  #add(fields: Facts): void {
    const bytes = Buffer.byteLength(JSON.stringify(fields));
    this.#bytes += bytes;
    this.#entries.push({ fields, bytes });
    if (this.#bytes > maxBytes) this.#broken ??= Number(fields.step ?? 0);
  }
}

/** What the model said; undefined if it is not all here. */
function saidIn(payload: Facts, parts: readonly string[]): Facts | undefined {
  if (payload.parts === undefined) return { text: payload.text, calls: payload.calls };
  const isWhole = typeof payload.parts === "number" && payload.parts > 0;
  if (!isWhole || parts.length !== payload.parts || parts.includes(undefined as never)) {
    return undefined;
  }
  try {
    const said: unknown = JSON.parse(parts.join(""));
    if (typeof said !== "object" || said === null) return undefined;
    const { text, calls } = { text: "", calls: [], ...said };
    return { text, calls };
  } catch {
    // A piece is not as it was written: the turn counts as not there.
    return undefined;
  }
}
