/** An inference service in this process: embeds with a fake embedder, counts words as tokens. */
import { create } from "@bufbuild/protobuf";
import { createRouterTransport, type Transport } from "@connectrpc/connect";
import {
  EmbeddingService,
  EmbedResponseSchema,
} from "@devmesh/gen/devmesh/inference/v1/embedding_service_pb";
import {
  CountTokensResponseSchema,
  ModelService,
} from "@devmesh/gen/devmesh/inference/v1/model_service_pb";
import { DevmeshError, toConnectError } from "@devmesh/mesh/errors";
import type { Embedder } from "../../services/mcp/embedder/embedder.ts";

/** What the service does; each may be changed while it runs. */
export interface FakeInference {
  readonly transport: Transport;
  /** Undefined: NO_EMBEDDER. */
  embedder: Embedder | undefined;
  /** False: CountTokens fails. */
  counts: boolean;
}

/** Makes the service. */
export function fakeInference(embedder?: Embedder): FakeInference {
  const fake: FakeInference = {
    embedder,
    counts: true,
    transport: createRouterTransport((router) => {
      router.service(EmbeddingService, {
        async embed(request, context) {
          try {
            if (fake.embedder === undefined) {
              throw new DevmeshError("NO_EMBEDDER", "no provider embeds");
            }
            const { model, dimensions, vectors } = await fake.embedder.embed(request.texts, {
              purpose: request.purpose === "query" ? "query" : "document",
              localOnly: request.localOnly,
              signal: context.signal,
              ...(request.model.includes("/") && { model: request.model }),
            });
            const values = vectors.map((vector) => ({ values: [...vector] }));
            return create(EmbedResponseSchema, { model, dimensions, vectors: values });
          } catch (error: unknown) {
            throw toConnectError(error);
          }
        },
      });
      router.service(ModelService, {
        countTokens(request) {
          if (!fake.counts) {
            throw toConnectError(new DevmeshError("PROVIDER_UNAVAILABLE", "no model is up"));
          }
          const counts = request.texts.map((text) => text.match(/\w+|[^\w\s]/g)?.length ?? 0);
          return create(CountTokensResponseSchema, { counts, tokenizer: "words", exact: true });
        },
      });
    }),
  };
  return fake;
}
