/** Answers to an agent's questions, as heartbeats bring them. */
import type { AgentAnswer } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";

/** Where answers come in and are waited for. */
export class AgentAnswers {
  #last: AgentAnswer | undefined;
  #waiting: { readonly seq: number; take(answer: AgentAnswer): void } | undefined;

  /** The last answer that the backend has. Told again and again; only the first time counts. */
  give(answer: AgentAnswer): void {
    this.#last = answer;
    if (this.#waiting?.seq !== answer.questionSeq) return;
    this.#waiting.take(answer);
    this.#waiting = undefined;
  }

  /** The answer to a question. Throws the signal's reason. */
  async wait(questionSeq: number, signal: AbortSignal): Promise<AgentAnswer> {
    signal.throwIfAborted();
    if (this.#last?.questionSeq === questionSeq) return this.#last;
    const { promise, resolve, reject } = Promise.withResolvers<AgentAnswer>();
    const stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    this.#waiting = { seq: questionSeq, take: resolve };
    try {
      return await promise;
    } finally {
      signal.removeEventListener("abort", stop);
      this.#waiting = undefined;
    }
  }
}
