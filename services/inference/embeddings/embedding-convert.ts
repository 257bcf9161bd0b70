/** Texts and vectors between the wire and the domain. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  EmbedRequest,
  EmbedResponseSchema,
} from "@devmesh/gen/devmesh/inference/v1/embedding_service_pb";
import { fromUsage } from "../chat/chat-convert.ts";
import type { EmbedInput } from "../providers/provider.ts";
import { noOverride, type PolicyOverride } from "../routing/policy.ts";
import type { RoutedEmbeddings } from "../routing/route.ts";

/** The texts of a request; `model` is as the caller named it. */
export function toEmbedInput({ model, texts, purpose }: EmbedRequest): EmbedInput {
  return { model, texts, purpose: purpose === "query" ? "query" : "document" };
}

/** Where the texts may be embedded. */
export function toEmbedOverride({ localOnly }: EmbedRequest): PolicyOverride {
  return localOnly ? { mode: "local-only", provider: "" } : noOverride;
}

/** The vectors as they travel. */
export function fromEmbeddings({
  vectors,
  usage,
  receipt,
}: RoutedEmbeddings): MessageInitShape<typeof EmbedResponseSchema> {
  return {
    vectors: vectors.map((vector) => ({ values: Array.from(vector) })),
    model: `${receipt.provider}/${receipt.model}`,
    dimensions: vectors[0]?.length ?? 0,
    usage: fromUsage(usage),
  };
}
