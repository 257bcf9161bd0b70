/**
 * A worker thread that runs one GGUF model by llama.cpp. Keeps the evaluated
 * conversation, so that a longer one with the same beginning costs only its end.
 */

import { randomUUID } from "node:crypto";
import { workerData } from "node:worker_threads";
import {
  getLlama,
  LlamaChat,
  type LlamaChatResponse,
  type LlamaContextSequence,
  type LlamaModel,
  readGgufFileInfo,
  resolveChatWrapper,
  type Token,
} from "node-llama-cpp";
import type { ChatInput } from "../provider.ts";
import { contextLength } from "../provider-errors.ts";
import { toLlamaFunctions, toLlamaHistory } from "./chat-history.ts";
import { serveParent } from "./worker-loop.ts";
import type { ChatWorkerData, ChatWorkerPiece, ChatWorkerRequest } from "./worker-protocol.ts";

interface Loaded {
  readonly model: LlamaModel;
  readonly sequence: LlamaContextSequence;
  readonly chat: LlamaChat;
}

/** Between two pieces of a long prompt an abort is noticed. */
const promptPieceTokens = 64;

const { modelPath, maxContextTokens, threads } = workerData as ChatWorkerData;
let loading: Promise<Loaded> | undefined;

serveParent<ChatWorkerRequest, ChatWorkerPiece>(async (request, emit, signal) => {
  switch (request.type) {
    case "info": {
      const file = await readGgufFileInfo(modelPath, { logWarnings: false });
      const trained = file.architectureMetadata.context_length ?? maxContextTokens;
      emit({ type: "info", contextTokens: Math.min(trained, maxContextTokens) });
      return;
    }
    case "count": {
      const { model } = await loaded();
      emit({ type: "counts", counts: request.texts.map((text) => model.tokenize(text).length) });
      return;
    }
    case "chat":
      await answer(await loaded(), request.input, emit, signal);
      return;
    default:
      request satisfies never;
  }
});

async function answer(
  { model, sequence, chat }: Loaded,
  input: ChatInput,
  emit: (piece: ChatWorkerPiece) => void,
  signal: AbortSignal,
): Promise<void> {
  const history = toLlamaHistory(input.messages);
  const functions = toLlamaFunctions(input.tools);
  const { contextText } = chat.chatWrapper.generateContextState({
    chatHistory: history,
    availableFunctions: functions,
    documentFunctionParams: functions !== undefined,
  });
  const prompt = contextText.tokenize(model.tokenizer);
  const room = sequence.contextSize - prompt.length - 2;
  if (room < 1) throw contextLength("embedded", sequence.contextSize);
  await readPrompt(sequence, prompt, signal);
  if (signal.aborted) return;
  let outputTokens = 0;
  const response = await chat.generateResponse(history, {
    signal,
    stopOnAbortSignal: true,
    maxTokens: input.maxTokens > 0 ? Math.min(input.maxTokens, room) : room,
    onTextChunk: (text) => {
      if (text !== "") emit({ type: "text", text });
    },
    onToken: (tokens) => {
      outputTokens += tokens.length;
    },
    customStopTriggers: [...input.stop],
    contextShift: {
      size: 1,
      strategy: () => {
        throw contextLength("embedded", sequence.contextSize);
      },
    },
    ...(input.temperature !== undefined && { temperature: input.temperature }),
    ...(input.topP !== undefined && { topP: input.topP }),
    ...(input.seed !== undefined && { seed: input.seed }),
    ...(functions !== undefined && { functions, documentFunctionParams: true }),
  });
  const calls = callsOf(response);
  for (const { functionName, params } of calls) {
    const call = {
      id: `call_${randomUUID()}`,
      name: functionName,
      arguments: JSON.stringify(params ?? {}),
    };
    emit({ type: "toolCall", call });
  }
  const cut = response.metadata.stopReason === "maxTokens";
  emit({
    type: "end",
    finishReason: calls.length > 0 ? "tool_calls" : cut ? "length" : "stop",
    inputTokens: prompt.length,
    outputTokens,
  });
}

/** Evaluates all of the prompt but its last token, as much of it as is not there yet. */
async function readPrompt(
  sequence: LlamaContextSequence,
  prompt: readonly Token[],
  signal: AbortSignal,
): Promise<void> {
  const body = prompt.slice(0, -1);
  await sequence.adaptStateToTokens(body, false);
  for (let at = sequence.nextTokenIndex; at < body.length; at += promptPieceTokens) {
    if (signal.aborted) return;
    await sequence.evaluateWithoutGeneratingNewTokens(body.slice(at, at + promptPieceTokens));
    // Lets an abort that came meanwhile be read.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function callsOf(
  response: LlamaChatResponse,
): readonly { functionName: string; params: unknown }[] {
  const calls: unknown = response.functionCalls;
  return Array.isArray(calls) ? calls : [];
}

function loaded(): Promise<Loaded> {
  loading ??= load();
  return loading;
}

async function load(): Promise<Loaded> {
  const llama = await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    // More threads than free cores make it slower by orders of magnitude.
    maxThreads: threads,
    logger: () => {},
  });
  const model = await llama.loadModel({ modelPath });
  const contextSize = Math.min(model.trainContextSize, maxContextTokens);
  const context = await model.createContext({ contextSize, sequences: 1, threads });
  const sequence = context.getSequence();
  const chatWrapper = resolveChatWrapper(model);
  return { model, sequence, chat: new LlamaChat({ contextSequence: sequence, chatWrapper }) };
}
