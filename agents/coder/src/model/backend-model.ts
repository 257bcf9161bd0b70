/** The model behind the backend's chat completions; reads streamed and whole answers. */
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionCreateParamsStreaming,
} from "openai/resources/chat/completions";
import { Stream } from "openai/streaming";
import { AnswerAssembly, wholeAnswer } from "./answer.ts";
import type { BackendHttp } from "./backend-http.ts";
import type { ChatModel, ModelQuestion, ModelTurn } from "./chat-model.ts";
import { brokenCall, refusalOf } from "./model-error.ts";

/** The dialect, and the window that devmesh takes besides. */
type CompletionBody = ChatCompletionCreateParamsStreaming & { readonly context_tokens?: number };

/** Which model, and over which connection. */
export interface BackendModelOptions {
  readonly http: BackendHttp;
  /** `provider/name` or a role. */
  readonly model: string;
}

/** One model of the backend. */
export class BackendModel implements ChatModel {
  readonly #http: BackendHttp;
  readonly #model: string;

  constructor({ http, model }: BackendModelOptions) {
    this.#http = http;
    this.#model = model;
  }

  async ask(question: ModelQuestion, signal: AbortSignal): Promise<ModelTurn> {
    signal.throwIfAborted();
    const body = this.#body(question);
    const questionBytes = Buffer.byteLength(JSON.stringify(body));
    const controller = new AbortController();
    const call = AbortSignal.any([signal, controller.signal]);
    try {
      const response = await this.#http.post("/v1/chat/completions", body, call);
      if (!response.ok) throw await refusalOf(response);
      if (response.headers.get("content-type")?.startsWith("application/json")) {
        return wholeAnswer((await response.json()) as ChatCompletion, questionBytes);
      }
      const answer = new AnswerAssembly();
      for await (const chunk of Stream.fromSSEResponse<ChatCompletionChunk>(response, controller)) {
        answer.add(chunk);
      }
      // The decoder ends an aborted stream as if it were whole.
      signal.throwIfAborted();
      return answer.turn(questionBytes);
    } catch (error) {
      signal.throwIfAborted();
      throw brokenCall(error);
    }
  }

  #body({ messages, tools, maxTokens, contextTokens = 0 }: ModelQuestion): CompletionBody {
    return {
      model: this.#model,
      messages: [...messages],
      ...(tools.length > 0 && { tools: [...tools] }),
      stream: true,
      stream_options: { include_usage: true },
      ...(maxTokens > 0 && { max_tokens: maxTokens }),
      ...(contextTokens > 0 && { context_tokens: contextTokens }),
    };
  }
}
