/** Owns the way between the contract's messages and the domain's values. */
import { create } from "@bufbuild/protobuf";
import type {
  BuildPackRequest,
  SearchRequest,
} from "@devmesh/gen/devmesh/mcp/v1/context_service_pb";
import {
  type Document as DocumentMessage,
  type IngestOutcome as IngestOutcomeMessage,
  IngestOutcomeSchema,
} from "@devmesh/gen/devmesh/mcp/v1/document_pb";
import { type ContextPack, ContextPackSchema } from "@devmesh/gen/devmesh/mcp/v1/pack_pb";
import {
  type SearchFilter as SearchFilterMessage,
  type SearchItem,
  SearchItemSchema,
  type SearchReceipt,
  SearchReceiptSchema,
} from "@devmesh/gen/devmesh/mcp/v1/search_pb";
import { invalidField } from "@devmesh/mesh/errors";
import { noFilter, type SearchFilter } from "../documents/context-store.ts";
import { collections, type DocumentInput, isCollection } from "../documents/document.ts";
import type { IngestOutcome } from "../documents/ingest.ts";
import type { BuiltPack, PackRequest } from "../packs/pack-builder.ts";
import type { SearchAnswer, SearchHit, SearchQuery } from "../search/search.ts";

const defaultTopK = 10;
const maxTopK = 100;
const maxQueryBytes = 4_096;
const maxTaskBytes = 65_536;
const maxBudgetTokens = 200_000;
const maxSnippetChars = 2_000;

/** A document as it was sent. */
export function toDocumentInput(message: DocumentMessage): DocumentInput {
  const { source, collection, text, metadata, localOnly } = message;
  return { source, collection, text, metadata, localOnly };
}

/** What became of a document, for the answer. */
export function fromIngestOutcome(outcome: IngestOutcome): IngestOutcomeMessage {
  const { source, state } = outcome;
  if (outcome.state !== "refused") {
    return create(IngestOutcomeSchema, { source, state, chunks: outcome.chunks });
  }
  const { reason, message } = outcome.error;
  return create(IngestOutcomeSchema, { source, state, reason, message });
}

/** Throws INVALID_FIELD. */
export function toSearchQuery({ query, topK, filter }: SearchRequest): SearchQuery {
  checkText("query", query, maxQueryBytes);
  if (topK > maxTopK) throw invalidField("top_k", `must be at most ${maxTopK}`);
  return { query, topK: topK === 0 ? defaultTopK : topK, filter: toFilter(filter) };
}

/** Throws INVALID_FIELD. */
export function toPackRequest({ task, budgetTokens, filter }: BuildPackRequest): PackRequest {
  checkText("task", task, maxTaskBytes);
  if (budgetTokens < 1 || budgetTokens > maxBudgetTokens) {
    throw invalidField("budget_tokens", `must be from 1 to ${maxBudgetTokens}`);
  }
  return { task, budgetTokens, filter: toFilter(filter) };
}

function checkText(field: string, text: string, maxBytes: number): void {
  if (text === "" || Buffer.byteLength(text) > maxBytes) {
    throw invalidField(field, `must have 1 to ${maxBytes} bytes`);
  }
}

function toFilter(message: SearchFilterMessage | undefined): SearchFilter {
  if (message === undefined) return noFilter;
  const { sourcePrefix, metadata } = message;
  const wanted = message.collections.map((name) => {
    if (isCollection(name)) return name;
    throw invalidField("filter.collections", `wants ${collections.join(", ")}`);
  });
  return { collections: wanted, sourcePrefix, metadata };
}

/** A hit, for the answer. */
export function fromSearchHit({ chunk, score, keywordRank, vectorRank }: SearchHit): SearchItem {
  const { id, source, collection, startLine, endLine, title, text } = chunk;
  return create(SearchItemSchema, {
    chunkId: id,
    source,
    collection,
    startLine,
    endLine,
    title,
    snippet: text.slice(0, maxSnippetChars).toWellFormed(),
    score,
    keywordRank,
    vectorRank,
  });
}

/** How it was searched, for the answer. */
export function fromSearchAnswer(answer: SearchAnswer): SearchReceipt {
  const { arms, embeddingModel, degraded } = answer;
  return create(SearchReceiptSchema, { arms: [...arms], embeddingModel, degraded });
}

/** A pack, for the answer. */
export function fromPack(pack: BuiltPack, budgetTokens: number): ContextPack {
  const { text, tokens, items, leftOut, arms, degraded, tokenizer } = pack;
  return create(ContextPackSchema, {
    text,
    tokens,
    budgetTokens,
    items: [...items],
    leftOut: [...leftOut],
    arms: [...arms],
    degraded,
    tokenizer,
  });
}
