/** What is written down of one call: a row for the ledger and a line for the log. */
import { randomUUID } from "node:crypto";
import type { DevmeshError } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";
import type { LedgerEntry } from "../ledger/ledger-store.ts";
import type { ChatInput, ChatPiece, Usage } from "../providers/provider.ts";
import { estimatePrompt, estimateTokens } from "../providers/token-estimate.ts";
import type { Candidate } from "./registry.ts";
import type { Caller } from "./route.ts";

/** What a record is made from. */
export interface CallRecordOptions {
  readonly operation: LedgerEntry["operation"];
  readonly caller: Caller;
  readonly clock: Clock;
}

/** The record of one call while it runs. */
export class CallRecord {
  /** When the call began, in the clock's milliseconds. */
  readonly startedAt: number;
  readonly #options: CallRecordOptions;
  #provider = "";
  #model = "";
  #fallbacks = 0;
  #usage: Usage | undefined;
  #seenTokens = 0;
  #committed = false;
  #outcome: string | undefined;

  constructor(options: CallRecordOptions) {
    this.#options = options;
    this.startedAt = options.clock.now();
  }

  /** A candidate began to answer after `fallbacks` others had failed. */
  answeredBy({ provider, model }: Candidate, fallbacks: number): void {
    this.#provider = provider.name;
    this.#model = model;
    this.#fallbacks = fallbacks;
    this.#committed = true;
  }

  /** A candidate failed after `fallbacks` others had. */
  failedAt({ provider, model }: Candidate, fallbacks: number): void {
    this.#provider = provider.name;
    this.#model = model;
    this.#fallbacks = fallbacks;
  }

  /** A piece passed. */
  saw(piece: ChatPiece): void {
    switch (piece.type) {
      case "text":
        this.#seenTokens += estimateTokens(piece.text);
        break;
      case "toolCall":
        this.#seenTokens += estimateTokens(piece.call.arguments);
        break;
      case "end":
        this.used(piece.usage);
        break;
      default:
        piece satisfies never;
    }
  }

  /** What the provider says it took. The call has succeeded. */
  used(usage: Usage): void {
    this.#usage = usage;
    this.#outcome = "ok";
  }

  /** The call failed; what was sent before counts by estimate. */
  failed(error: DevmeshError, input: ChatInput | undefined): void {
    this.#outcome = error.reason;
    if (this.#usage !== undefined || !this.#committed || input === undefined) return;
    this.#usage = {
      inputTokens: estimatePrompt(input.messages, input.tools),
      outputTokens: this.#seenTokens,
      exact: false,
    };
  }

  /** The row, after the line was logged. A call that was left by its consumer is cancelled. */
  finish(): LedgerEntry {
    const { operation, caller, clock } = this.#options;
    const now = clock.now();
    const entry: LedgerEntry = {
      id: randomUUID(),
      atMs: now,
      operation,
      requestId: caller.requestId,
      principal: caller.principal,
      jobId: caller.jobId,
      provider: this.#provider,
      model: this.#model,
      inputTokens: this.#usage?.inputTokens ?? 0,
      outputTokens: this.#usage?.outputTokens ?? this.#seenTokens,
      exact: this.#usage?.exact ?? false,
      latencyMs: now - this.startedAt,
      outcome: this.#outcome ?? "CANCELLED",
      fallbacks: this.#fallbacks,
    };
    caller.logger.info(
      {
        jobId: entry.jobId,
        actor: entry.principal,
        provider: entry.provider,
        model: entry.model,
        tokens: entry.inputTokens + entry.outputTokens,
        latencyMs: entry.latencyMs,
        outcome: entry.outcome,
        fallbacks: entry.fallbacks,
      },
      operation === "chat" ? "model answered" : "texts embedded",
    );
    return entry;
  }
}
