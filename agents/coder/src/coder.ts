/** Owns the loop: ask the model, do what it calls, until it finishes or a limit is reached. */
import type { Clock } from "./clock.ts";
import type { Conversation } from "./conversation.ts";
import type { AgentInput } from "./input.ts";
import type { ChatModel, ModelCall, ModelTurn } from "./model/chat-model.ts";
import { ModelError } from "./model/model-error.ts";
import { Progress } from "./progress.ts";
import { nudge } from "./prompt.ts";
import type { Records, Report } from "./records.ts";
import { errorText, oneLine } from "./text.ts";
import type { CallResult, Toolbox } from "./tools/toolbox.ts";

/** What the loop works with. */
export interface CoderOptions {
  readonly input: AgentInput;
  readonly model: ChatModel;
  readonly toolbox: Toolbox;
  readonly conversation: Conversation;
  readonly records: Records;
  readonly clock: Clock;
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
  #malformed = 0;
  #nudges = 0;

  constructor(options: CoderOptions) {
    this.#options = options;
    this.#progress = new Progress(options.input);
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
        return this.#progress.stopped("time", `the limit of ${input.maxSeconds} s is reached`);
      }
      const isExpected = error instanceof ModelError || error instanceof GaveUp;
      const message = errorText(error);
      return this.#progress.stopped("error", isExpected ? message : `internal error: ${message}`);
    }
  }

  async #loop(signal: AbortSignal): Promise<Report> {
    for (;;) {
      const limit = this.#progress.reached();
      if (limit !== undefined) return this.#progress.stopped(limit.stopped, limit.message);
      const turn = await this.#ask(signal);
      this.#options.conversation.addTurn(turn);
      const summary = await this.#answer(turn, signal);
      if (summary !== undefined) return this.#progress.finished(summary);
    }
  }

  async #ask(signal: AbortSignal): Promise<ModelTurn> {
    const { conversation, records, clock } = this.#options;
    const step = this.#progress.steps + 1;
    const shortened = conversation.shorten();
    if (shortened > 0) records.say(`(${shortened} old results shortened)`);
    const begin = clock.now();
    const turn = withIds(await this.#askFitting(signal), step);
    const ms = Math.round(clock.now() - begin);
    this.#progress.add(turn);
    const { inputTokens, outputTokens, exactUsage, model } = turn;
    records.note("info", `turn ${step}: ${turnText(turn)}`, {
      step,
      tool: "",
      ms,
      inputTokens,
      outputTokens,
      exactUsage,
      provider: model.includes("/") ? model.slice(0, model.indexOf("/")) : "",
      model,
    });
    if (turn.text.trim() !== "") records.say(`${step}. ${turn.text}`);
    return turn;
  }

  /** A model whose window is too small is asked once more, with old results shortened. */
  async #askFitting(signal: AbortSignal): Promise<ModelTurn> {
    const { model, toolbox, conversation, records } = this.#options;
    const { tokensLeft } = this.#progress;
    const question = {
      messages: conversation.messages,
      tools: toolbox.definitions(),
      maxTokens: tokensLeft < maxAnswerTokens ? tokensLeft : 0,
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
      const result = await this.#call(call, signal);
      if (result.outcome === "finished") return result.text;
      conversation.addResult(call.id, result.text);
      this.#malformed = result.outcome === "malformed" ? this.#malformed + 1 : 0;
      if (this.#malformed === maxMalformed) {
        throw new GaveUp(`${maxMalformed} wrong tool calls in a row, the last: ${result.text}`);
      }
    }
    return undefined;
  }

  async #call(call: ModelCall, signal: AbortSignal): Promise<CallResult> {
    const { toolbox, records, clock } = this.#options;
    const { steps: step } = this.#progress;
    records.say(`> ${call.name} ${call.arguments}`);
    const begin = clock.now();
    const { outcome, text } = await toolbox.call(call, { signal });
    const ms = Math.round(clock.now() - begin);
    const result = { outcome, text: records.redact(text) };
    const isBad = outcome === "failed" || outcome === "malformed";
    records.say(`  ${oneLine(result.text)}`);
    records.note(isBad ? "warn" : "info", `${call.name}: ${oneLine(result.text)}`, {
      step,
      tool: oneLine(call.name, 100),
      ms,
      inputTokens: 0,
      outputTokens: 0,
      outcome,
      resultBytes: Buffer.byteLength(result.text),
    });
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

function turnText({ calls, text }: ModelTurn): string {
  if (calls.length > 0) return calls.map(({ name }) => name).join(", ");
  return text.trim() === "" ? "no answer" : oneLine(text);
}
