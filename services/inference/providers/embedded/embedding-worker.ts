/**
 * A worker thread that runs one ONNX embedding model: one text at a time, so
 * that a text's vector does not depend on its neighbours; the first row of the
 * output (CLS), brought to length 1.
 */
import { existsSync, readFileSync } from "node:fs";
import { setPriority } from "node:os";
import { dirname, join } from "node:path";
import { workerData } from "node:worker_threads";
import { Tokenizer } from "@huggingface/tokenizers";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { unitVector } from "../embedding-texts.ts";
import { protocolError } from "../provider-errors.ts";
import { serveParent } from "./worker-loop.ts";
import type {
  EmbeddingWorkerData,
  EmbeddingWorkerPiece,
  EmbeddingWorkerRequest,
} from "./worker-protocol.ts";

interface Loaded {
  readonly session: InferenceSession;
  readonly tokenizer: Tokenizer;
  readonly maxTokens: number;
}

/** The window of BERT models whose tokenizer names none. */
const defaultWindow = 512;

const { modelPath, tokenizerPath, threads } = workerData as EmbeddingWorkerData;
let loading: Promise<Loaded> | undefined;

// On Linux this is the thread's own: embedding in the background leaves the processors to the work.
setPriority(10);

serveParent<EmbeddingWorkerRequest, EmbeddingWorkerPiece>(async (request, emit) => {
  const model = await loaded();
  switch (request.type) {
    case "info": {
      const { values } = await embed(model, "");
      emit({ type: "info", dimensions: values.length, contextTokens: model.maxTokens });
      return;
    }
    case "count":
      emit({
        type: "counts",
        counts: request.texts.map((text) => model.tokenizer.encode(text).ids.length),
      });
      return;
    case "embed":
      emit({ type: "vector", ...(await embed(model, request.text)) });
      return;
    default:
      request satisfies never;
  }
});

async function embed({ session, tokenizer, maxTokens }: Loaded, text: string) {
  const ids = cut(tokenizer.encode(text).ids, maxTokens);
  const inputs: Record<string, readonly number[]> = {
    input_ids: ids,
    attention_mask: ids.map(() => 1),
    token_type_ids: ids.map(() => 0),
  };
  const feeds = Object.fromEntries(
    session.inputNames.map((name) => [name, int64(inputs[name] ?? ids.map(() => 0))]),
  );
  const outputs = await session.run(feeds);
  const output = outputs[session.outputNames[0] ?? ""];
  const dimensions = output?.dims.at(-1);
  if (!(output?.data instanceof Float32Array) || dimensions === undefined) {
    throw protocolError("embedded", "the embedding model gives no rows of floats");
  }
  return { values: unitVector(output.data.subarray(0, dimensions)), tokens: ids.length };
}

/** A text beyond the window keeps its beginning and the closing token. */
function cut(ids: readonly number[], maxTokens: number): readonly number[] {
  return ids.length <= maxTokens ? ids : [...ids.slice(0, maxTokens - 1), ...ids.slice(-1)];
}

function int64(values: readonly number[]): Tensor {
  return new Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
}

function loaded(): Promise<Loaded> {
  loading ??= load();
  return loading;
}

async function load(): Promise<Loaded> {
  const description = readJson(tokenizerPath);
  const configPath = join(dirname(tokenizerPath), "tokenizer_config.json");
  const config = existsSync(configPath) ? readJson(configPath) : {};
  const session = await InferenceSession.create(modelPath, {
    executionProviders: ["cpu"],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const tokenizer = new Tokenizer(description, config);
  return { session, tokenizer, maxTokens: windowOf(description) };
}

function windowOf(description: object): number {
  const truncation = "truncation" in description ? description.truncation : undefined;
  if (typeof truncation !== "object" || truncation === null) return defaultWindow;
  const length = "max_length" in truncation ? truncation.max_length : undefined;
  return typeof length === "number" ? Math.max(length, defaultWindow) : defaultWindow;
}

function readJson(path: string): object {
  const parsed: unknown = JSON.parse(readFileSync(path, "utf8"));
  if (typeof parsed !== "object" || parsed === null) throw new Error(`${path} is no JSON object`);
  return parsed;
}
