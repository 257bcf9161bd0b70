/** A model that plays a list of answers, for tests of the loop; the clock of such tests. */
import type { Clock } from "../../agents/coder/src/clock.ts";
import type {
  ChatModel,
  ModelQuestion,
  ModelTurn,
} from "../../agents/coder/src/model/chat-model.ts";

/** A turn of which only what matters is said. */
export function turnOf(turn: Partial<ModelTurn>): ModelTurn {
  return {
    text: "",
    calls: [],
    cut: false,
    inputTokens: 10,
    outputTokens: 1,
    exactUsage: true,
    model: "fake/model",
    ...turn,
  };
}

/** A turn with one call. */
export function callOf(name: string, args: unknown, id = "call"): ModelTurn {
  const json = typeof args === "string" ? args : JSON.stringify(args);
  return turnOf({ calls: [{ id, name, arguments: json }] });
}

/** What it does when asked: answer, throw, or anything else. */
export type FakeAnswer =
  | ModelTurn
  | Error
  | ((question: ModelQuestion, signal: AbortSignal) => Promise<ModelTurn>);

/** Plays its answers in order; the last one again and again. */
export class FakeModel implements ChatModel {
  /** What it was asked; the messages as they were then. */
  readonly questions: ModelQuestion[] = [];
  readonly #answers: readonly FakeAnswer[];

  constructor(answers: readonly FakeAnswer[]) {
    this.#answers = answers;
  }

  async ask(question: ModelQuestion, signal: AbortSignal): Promise<ModelTurn> {
    const answer = this.#answers[Math.min(this.questions.length, this.#answers.length - 1)];
    this.questions.push({ ...question, messages: structuredClone(question.messages) });
    if (answer === undefined) throw new Error("the fake has no answers");
    if (answer instanceof Error) throw answer;
    return typeof answer === "function" ? answer(question, signal) : answer;
  }
}

/** A clock whose time passes by sleeping, and whose limit is reached when the test says so. */
export class FakeClock implements Clock {
  /** How long was slept, in order. */
  readonly sleeps: number[] = [];
  /** Aborts what `timeout` made. */
  readonly limit = new AbortController();
  #now = 0;

  now(): number {
    return this.#now;
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.sleeps.push(ms);
    this.#now += ms;
  }

  timeout(): AbortSignal {
    return this.limit.signal;
  }
}

/** Never answers; ends when the signal aborts. */
export async function hang(_question: ModelQuestion, signal: AbortSignal): Promise<ModelTurn> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
