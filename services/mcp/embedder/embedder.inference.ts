/** The embedder that asks the inference service; which provider answers is decided there. */
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { EmbeddingService } from "@devmesh/gen/devmesh/inference/v1/embedding_service_pb";
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import type { Embedded, Embedder, EmbedOptions } from "./embedder.ts";

/** What it is made from. */
export interface InferenceEmbedderOptions {
  readonly transport: Transport;
  /** How long one call may take. */
  readonly timeoutMs: number;
}

/** The role whose models are asked where a call names none. */
const defaultModel = "embeddings";

/** A client of `devmesh.inference.v1.EmbeddingService`. */
export class InferenceEmbedder implements Embedder {
  readonly maxTexts = 32;
  readonly #client: Client<typeof EmbeddingService>;
  readonly #timeoutMs: number;

  constructor({ transport, timeoutMs }: InferenceEmbedderOptions) {
    this.#client = createClient(EmbeddingService, transport);
    this.#timeoutMs = timeoutMs;
  }

  async embed(texts: readonly string[], options: EmbedOptions): Promise<Embedded> {
    const { signal, purpose, localOnly, model = defaultModel } = options;
    try {
      const answer = await this.#client.embed(
        { texts: [...texts], purpose, localOnly, model },
        { signal, timeoutMs: this.#timeoutMs },
      );
      const vectors = answer.vectors.map(({ values }) => Float32Array.from(values));
      return checked({ model: answer.model, dimensions: answer.dimensions, vectors }, texts.length);
    } catch (error: unknown) {
      signal.throwIfAborted();
      throw toDevmeshError(error);
    }
  }
}

function checked(embedded: Embedded, texts: number): Embedded {
  const { model, dimensions, vectors } = embedded;
  const fits =
    model !== "" &&
    dimensions > 0 &&
    vectors.length === texts &&
    vectors.every((vector) => vector.length === dimensions && vector.every(Number.isFinite));
  if (fits) return embedded;
  throw new DevmeshError("PROVIDER_PROTOCOL", "the embedder's vectors do not fit its own answer", {
    metadata: { model, dimensions: String(dimensions), vectors: String(vectors.length) },
  });
}
