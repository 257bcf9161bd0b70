/** The noun `context`: search, ingest, packs. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { type Caller, present } from "../caller.ts";
import type {
  ContextService,
  SearchContextResponse,
} from "../gen/devmesh/api/v1/context_service_pb.js";
import type { DocumentSchema, IngestOutcome } from "../gen/devmesh/mcp/v1/document_pb.js";
import type { ContextPack } from "../gen/devmesh/mcp/v1/pack_pb.js";
import type { CallOptions } from "../options.ts";

/** The domains of the memory. */
export type Collection = "notes" | "code" | "runs";

/** Which items to consider. */
export interface ContextFilter {
  /** Only these collections. Default: all. */
  readonly collections?: readonly Collection[];
  /** Only sources that start so. Default: all. */
  readonly sourcePrefix?: string;
  /** Only documents with all of these metadata values. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** A piece of knowledge to be searched. */
export interface DocumentInput {
  /** A relative path with `/`, or any stable name. */
  readonly source: string;
  /** Default: by the source's file ending. */
  readonly collection?: Collection;
  /** The text, at most 4 MiB. */
  readonly text: string;
  /** Free metadata, for filters. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** True: the text never leaves for a cloud provider. Default: false. */
  readonly localOnly?: boolean;
}

const batchDocuments = 100;
const batchCharacters = 4 * 1024 * 1024;
const ingestTimeoutMs = 600_000;

/** The memory and context plane. */
export class Context {
  readonly #client: Client<typeof ContextService>;
  readonly #caller: Caller;

  /** Made by `createDevmesh`. */
  constructor(deps: { readonly client: Client<typeof ContextService>; readonly caller: Caller }) {
    this.#client = deps.client;
    this.#caller = deps.caller;
  }

  /** Searches by keyword and by meaning; best first, with a receipt of how. */
  search(
    q: string,
    query: ContextFilter & { readonly topK?: number } = {},
    options?: CallOptions,
  ): Promise<SearchContextResponse> {
    const request = { q, topK: query.topK ?? 0, filter: toFilter(query) };
    return this.#caller.unary((o) => this.#client.searchContext(request, o), options);
  }

  /**
   * Adds or updates documents, sent in bounded batches. Answers one outcome
   * for each document, in order; `onOutcome` hears of them as they come.
   */
  async ingest(
    documents: Iterable<DocumentInput> | AsyncIterable<DocumentInput>,
    options: CallOptions & { readonly onOutcome?: (outcome: IngestOutcome) => void } = {},
  ): Promise<IngestOutcome[]> {
    const outcomes: IngestOutcome[] = [];
    for await (const batch of batches(documents)) {
      const answer = await this.#caller.unary(
        (o) => this.#client.ingestContext({ documents: batch.map(toDocument) }, o),
        options,
        ingestTimeoutMs,
      );
      for (const outcome of answer.outcomes) options.onOutcome?.(outcome);
      outcomes.push(...answer.outcomes);
    }
    return outcomes;
  }

  /** Picks context for a task under a token budget that is never exceeded. */
  async pack(
    task: string,
    query: ContextFilter & { readonly budgetTokens: number },
    options?: CallOptions,
  ): Promise<ContextPack> {
    const request = { task, budgetTokens: query.budgetTokens, filter: toFilter(query) };
    const answer = await this.#caller.unary(
      (o) => this.#client.buildContextPack(request, o),
      options,
    );
    return present(answer.pack, "pack");
  }
}

function toFilter(filter: ContextFilter) {
  return {
    collections: [...(filter.collections ?? [])],
    sourcePrefix: filter.sourcePrefix ?? "",
    metadata: { ...filter.metadata },
  };
}

function toDocument(input: DocumentInput): MessageInitShape<typeof DocumentSchema> {
  return { ...input, metadata: { ...input.metadata } };
}

async function* batches(
  documents: Iterable<DocumentInput> | AsyncIterable<DocumentInput>,
): AsyncGenerator<DocumentInput[], void, undefined> {
  let batch: DocumentInput[] = [];
  let characters = 0;
  for await (const document of documents) {
    const isFull =
      batch.length >= batchDocuments || characters + document.text.length > batchCharacters;
    if (isFull && batch.length > 0) {
      yield batch;
      batch = [];
      characters = 0;
    }
    batch.push(document);
    characters += document.text.length;
  }
  if (batch.length > 0) yield batch;
}
