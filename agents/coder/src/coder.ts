/** Owns the loop: ask the model, do what it calls, until it finishes or a limit is reached. */
import type { Checkpoints } from "./checkpoint.ts";
import type { Clock } from "./clock.ts";
import type { Conversation } from "./conversation.ts";
import type { AgentInput } from "./input.ts";
import type { ChatModel, ModelCall, ModelTurn } from "./model/chat-model.ts";
import { ModelError } from "./model/model-error.ts";
import { Progress, type Reached } from "./progress.ts";
import { nudge } from "./prompt.ts";
import type { Records, Report } from "./records.ts";
import { Replay } from "./replay.ts";
import { errorText, oneLine } from "./text.ts";
import type { CallResult, Toolbox } from "./tools/toolbox.ts";
import type { Transcript } from "./transcript.ts";

/** What the loop works with. */
export interface CoderOptions {
  readonly input: AgentInput;
  readonly model: ChatModel;
  readonly toolbox: Toolbox;
  readonly conversation: Conversation;
  readonly records: Records;
  readonly transcript: Transcript;
  readonly clock: Clock;
  /** The window to ask for, in tokens. 0: the model's own. */
  readonly contextTokens: number;
  /** Absent: changes are told to nobody. */
  readonly checkpoints?: Checkpoints | undefined;
}

/** Wrong calls in a row after which it is given up. */
const maxMalformed = 5;
/** How often in a row the model is told to call a tool. */
const maxNudges = 2;
/** Below this the rest of the tokens bounds the single answer too. */
const maxAnswerTokens = 16_384;

/** An end that is none of the limits; its message goes into the report. */
class GaveUp extends Error {}

/** One run of the agent. */
export class Coder {
  readonly #options: CoderOptions;
  readonly #progress: Progress;
  readonly #replay: Replay;
  #malformed = 0;
  #nudges = 0;

  constructor(options: CoderOptions) {
    this.#options = options;
    this.#progress = new Progress(options.input);
    this.#replay = new Replay(options.input.resume);
  }

  /** Works until an end. Never throws: every end is a report. `stop` ends it from outside. */
  async run(stop: AbortSignal): Promise<Report> {
    const { input, clock } = this.#options;
    const late = clock.timeout(input.maxSeconds * 1000);
    try {
      return await this.#loop(AbortSignal.any([stop, late]));
    } catch (error) {
      if (stop.aborted) return this.#progress.stopped("error", errorText(stop.reason));
      if (late.aborted) {
        const { maxSeconds: limit } = input;
        const message = `the limit of ${limit} s is reached`;
        return this.#progress.spent({ stopped: "time", message, used: limit, limit });
      }
      const message = errorText(error);
      if (error instanceof ModelError) {
        return this.#progress.stopped("error", message, error.reason.split(":")[0]);
      }
      const isExpected = error instanceof GaveUp;
      return this.#progress.stopped("error", isExpected ? message : `internal error: ${message}`);
    }
  }

  async #loop(signal: AbortSignal): Promise<Report> {
    for (;;) {
      const turn = this.#replay.hasMore ? this.#replayed() : await this.#nextTurn(signal);
      if (turn === undefined) continue;
      if ("stopped" in turn) return this.#progress.spent(turn);
      this.#options.conversation.addTurn(turn);
      const summary = await this.#answer(turn, signal);
      if (summary !== undefined) return this.#progress.finished(summary);
    }
  }

  /** The next turn of the log; a word of a person only goes into the conversation. */
  #replayed(): ModelTurn | undefined {
    const entry = this.#replay.next();
    if (entry?.type !== "turn") {
      if (entry !== undefined) this.#options.conversation.addUser(entry.text);
      return undefined;
    }
    this.#progress.add(entry);
    return entry;
  }

  async #nextTurn(signal: AbortSignal): Promise<ModelTurn | Reached> {
    return this.#progress.reached() ?? (await this.#ask(signal));
  }

  async #ask(signal: AbortSignal): Promise<ModelTurn> {
    const { conversation, records, transcript, model, clock } = this.#options;
    const step = this.#progress.steps + 1;
    const shortened = conversation.shorten();
    if (shortened > 0) records.say(`(${shortened} old results shortened)`);
    const begin = clock.now();
    const turn = withIds(await this.#askFitting(signal), step);
    const ms = Math.round(clock.now() - begin);
    this.#progress.add(turn);
    transcript.turn(turn, { step, ms, protocol: model.protocol ?? "native" });
    if (turn.text.trim() !== "") records.say(`${step}. ${turn.text}`);
    return turn;
  }

  /** A model whose window is too small is asked once more, with old results shortened. */
  async #askFitting(signal: AbortSignal): Promise<ModelTurn> {
    const { model, toolbox, conversation, records, contextTokens } = this.#options;
    const { tokensLeft } = this.#progress;
    const question = {
      messages: conversation.messages,
      tools: toolbox.definitions(),
      maxTokens: tokensLeft < maxAnswerTokens ? tokensLeft : 0,
      contextTokens,
    };
    try {
      return await model.ask(question, signal);
    } catch (error) {
      const isTooLong = error instanceof ModelError && error.reason.startsWith("CONTEXT_LENGTH");
      if (!isTooLong || conversation.shortenByHalf() === 0) throw error;
      records.say("(the conversation is too long for the model; old results shortened)");
      return model.ask(question, signal);
    }
  }

  /** Does what the turn asks for; answers the summary if it finished. */
  async #answer(turn: ModelTurn, signal: AbortSignal): Promise<string | undefined> {
    const { conversation } = this.#options;
    if (turn.calls.length === 0) {
      if (this.#nudges === maxNudges) {
        throw new GaveUp(`the model called no tool ${maxNudges + 1} times in a row`);
      }
      this.#nudges += 1;
      conversation.addUser(nudge(turn.cut));
      return undefined;
    }
    this.#nudges = 0;
    for (const call of turn.calls) {
      const result = await this.#result(call, signal);
      if (result.command) this.#progress.ran(result.command);
      if (result.outcome === "finished") return result.text;
      conversation.addResult(call.id, result.text);
      this.#malformed = result.outcome === "malformed" ? this.#malformed + 1 : 0;
      if (this.#malformed === maxMalformed) {
        throw new GaveUp(`${maxMalformed} wrong tool calls in a row, the last: ${result.text}`);
      }
    }
    return undefined;
  }

  /** What the log has of the call; else what it gives now. */
  async #result(call: ModelCall, signal: AbortSignal): Promise<CallResult> {
    const known = this.#replay.resultOf(this.#progress.steps, call.id);
    if (known === undefined) return this.#call(call, signal);
    const { outcome, text, command } = known;
    return { outcome, text, ...(command && { command }) };
  }

  async #call(call: ModelCall, signal: AbortSignal): Promise<CallResult> {
    const { toolbox, records, transcript, checkpoints, clock } = this.#options;
    const { steps: step } = this.#progress;
    records.say(`> ${call.name} ${call.arguments}`);
    const begin = clock.now();
    const done = await toolbox.call(call, { signal });
    const ms = Math.round(clock.now() - begin);
    const result = { ...done, text: records.redact(done.text) };
    records.say(`  ${oneLine(result.text)}`);
    const mayChange = toolbox.mayChange(call.name);
    const change = mayChange ? await checkpoints?.look(signal) : undefined;
    const changed = checkpoints === undefined ? mayChange : change !== undefined;
    transcript.call({ step, id: call.id, name: call.name, ms, changed }, result);
    // Behind the call's own event: files without it would be changed twice.
    if (change !== undefined) await checkpoints?.tell(step, call.id, change);
    return result;
  }
}

/** Calls must have ids that differ; some models give none. */
function withIds(turn: ModelTurn, step: number): ModelTurn {
  const seen = new Set<string>();
  const calls = turn.calls.map((call, index) => {
    const id = call.id === "" || seen.has(call.id) ? `call_${step}_${index}` : call.id;
    seen.add(id);
    return { ...call, id };
  });
  return { ...turn, calls };
}
