/**
 * Asks the candidates in their order until one begins to answer. Owns
 * fallbacks, time limits, circuit breakers and the record of every call; who
 * the candidates are is left to `registry.ts` and `policy.ts`.
 */
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";
import type { Ledger } from "../ledger/ledger.ts";
import { linkedAbort } from "../providers/linked-abort.ts";
import type { ChatPiece } from "../providers/provider.ts";
import { cancelled, protocolError, throwIfCancelled } from "../providers/provider-errors.ts";
import { CallRecord } from "./call-record.ts";
import { CircuitBreaker } from "./circuit-breaker.ts";
import { narrowed, type Policy } from "./policy.ts";
import { costMicros, type Prices } from "./prices.ts";
import type { Candidate, Registry } from "./registry.ts";
import {
  attemptOf,
  exhausted,
  fallsOver,
  type RouteAttempt,
  type RoutedChat,
  type RoutedEmbed,
  type RoutedEmbeddings,
  type RoutedPiece,
  receiptOf,
} from "./route.ts";
import { type TimeLimits, Watchdog } from "./watchdog.ts";

/** What a router is made from. */
export interface RouterOptions {
  readonly registry: Registry;
  readonly policy: Policy;
  readonly ledger: Ledger;
  readonly limits: TimeLimits;
  readonly clock: Clock;
  /** Default: no price is known. */
  readonly prices?: Prices;
  /** Failures in a row after which a provider is spared. Default: 5. */
  readonly breakerFailures?: number;
  /** For how long, in milliseconds. Default: 30,000. */
  readonly breakerOpenMs?: number;
}

/** One attempt at one candidate. */
interface Attempt {
  readonly signal: AbortSignal;
  readonly watchdog: Watchdog;
  /** Ends it for good: what the provider still does is aborted. */
  end(): void;
}

/** Why an attempt's signal aborts when it has ended; made once, a stack is dear. */
const over = new DevmeshError("CANCELLED", "the attempt is over");

/** Routes calls to providers. */
export class Router {
  readonly #options: RouterOptions;
  readonly #breakers = new Map<string, CircuitBreaker>();

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /**
   * Answers a conversation: the route, then the provider's pieces. Other
   * candidates are tried only before the first piece; after it a failure is the
   * call's failure.
   */
  async *chat(request: RoutedChat, signal?: AbortSignal): AsyncGenerator<RoutedPiece> {
    const { registry, policy, ledger, clock } = this.#options;
    const record = new CallRecord({ operation: "chat", caller: request.caller, clock });
    const attempts: RouteAttempt[] = [];
    let failure: DevmeshError | undefined;
    try {
      const server = { ...policy, mode: request.deploymentMode ?? policy.mode };
      const effective = narrowed(server, request.override);
      const candidates = await registry.candidates(request.input.model, "chat", effective);
      for (const candidate of candidates) {
        throwIfCancelled(signal);
        const narrow = tooNarrow(candidate, request.input.contextTokens ?? 0);
        if (narrow !== undefined) {
          failure = narrow;
          attempts.push(attemptOf(candidate, failure));
          continue;
        }
        const breaker = this.#breaker(candidate);
        if (!breaker.tryEnter()) {
          failure = spared(candidate, breaker);
          attempts.push(attemptOf(candidate, failure));
          continue;
        }
        const attempt = this.#attempt(record.startedAt, signal);
        let committed = false;
        let settled = false;
        try {
          const input = { ...request.input, model: candidate.model };
          for await (const made of candidate.provider.chat(input, attempt.signal)) {
            const piece = this.#priced(made, candidate);
            attempt.watchdog.heard();
            if (!committed) {
              committed = true;
              record.answeredBy(candidate, attempts.length);
              yield { type: "route", receipt: receiptOf(candidate, attempts) };
            }
            record.saw(piece);
            if (piece.type === "end") {
              breaker.succeeded();
              settled = true;
            }
            yield piece;
            if (piece.type === "end") return;
            attempt.watchdog.resumed();
          }
          throw protocolError(candidate.provider.name, "its answer has no end");
        } catch (error) {
          failure = readFailure(error, candidate, attempt, signal);
          if (!settled) settle(breaker, failure);
          settled = true;
          record.failedAt(candidate, attempts.length);
          attempts.push(attemptOf(candidate, failure));
          if (committed || !fallsOver(failure.reason)) throw failure;
        } finally {
          if (!settled) breaker.released();
          attempt.end();
        }
      }
      throw exhausted(attempts, failure ?? new DevmeshError("INTERNAL", "no candidate was asked"));
    } catch (error) {
      record.failed(toDevmeshError(error), request.input);
      throw error;
    } finally {
      ledger.record(record.finish());
    }
  }

  /** Embeds texts; all vectors are of one model. */
  async embed(request: RoutedEmbed, signal?: AbortSignal): Promise<RoutedEmbeddings> {
    const { registry, policy, ledger, clock } = this.#options;
    const record = new CallRecord({ operation: "embed", caller: request.caller, clock });
    const attempts: RouteAttempt[] = [];
    let failure: DevmeshError | undefined;
    try {
      const effective = narrowed(policy, request.override);
      const candidates = await registry.candidates(request.input.model, "embeddings", effective);
      for (const candidate of candidates) {
        throwIfCancelled(signal);
        const breaker = this.#breaker(candidate);
        if (!breaker.tryEnter()) {
          failure = spared(candidate, breaker);
          attempts.push(attemptOf(candidate, failure));
          continue;
        }
        const attempt = this.#attempt(record.startedAt, signal);
        // Vectors come all at once: only the whole request's limit holds.
        attempt.watchdog.heard();
        try {
          const input = { ...request.input, model: candidate.model };
          const embeddings = await candidate.provider.embed(input, attempt.signal);
          breaker.succeeded();
          record.answeredBy(candidate, attempts.length);
          record.used(embeddings.usage);
          return { ...embeddings, receipt: receiptOf(candidate, attempts) };
        } catch (error) {
          failure = readFailure(error, candidate, attempt, signal);
          settle(breaker, failure);
          record.failedAt(candidate, attempts.length);
          attempts.push(attemptOf(candidate, failure));
          if (!fallsOver(failure.reason)) throw failure;
        } finally {
          attempt.end();
        }
      }
      throw exhausted(attempts, failure ?? new DevmeshError("INTERNAL", "no candidate was asked"));
    } catch (error) {
      record.failed(toDevmeshError(error), undefined);
      throw error;
    } finally {
      ledger.record(record.finish());
    }
  }

  /** The end of an answer with what it cost. */
  #priced(piece: ChatPiece, { provider, model }: Candidate): ChatPiece {
    if (piece.type !== "end") return piece;
    const price = this.#options.prices?.of(provider, model);
    if (price === undefined) return piece;
    return { ...piece, usage: { ...piece.usage, costMicros: costMicros(piece.usage, price) } };
  }

  #attempt(requestedAt: number, signal: AbortSignal | undefined): Attempt {
    const { clock, limits } = this.#options;
    const { controller, unlink } = linkedAbort(signal);
    const watchdog = new Watchdog({ clock, limits, requestedAt, abort: controller });
    const end = () => {
      watchdog.stop();
      unlink();
      controller.abort(over);
    };
    return { signal: controller.signal, watchdog, end };
  }

  #breaker({ provider }: Candidate): CircuitBreaker {
    const known = this.#breakers.get(provider.name);
    if (known !== undefined) return known;
    const { clock, breakerFailures, breakerOpenMs } = this.#options;
    const made = new CircuitBreaker({
      clock,
      ...(breakerFailures !== undefined && { failures: breakerFailures }),
      ...(breakerOpenMs !== undefined && { openMs: breakerOpenMs }),
    });
    this.#breakers.set(provider.name, made);
    return made;
  }
}

function readFailure(
  error: unknown,
  { provider }: Candidate,
  { watchdog }: Attempt,
  signal: AbortSignal | undefined,
): DevmeshError {
  if (signal?.aborted) return cancelled(signal.reason);
  if (watchdog.bark === undefined) return toDevmeshError(error);
  const { reason, message } = watchdog.bark;
  return new DevmeshError(reason, `${provider.name}: ${message}`, {
    metadata: { provider: provider.name },
    cause: error,
  });
}

/** What a failure says of the provider's health; a limit or a lost caller says nothing. */
function settle(breaker: CircuitBreaker, { reason }: DevmeshError): void {
  switch (reason) {
    case "PROVIDER_UNAVAILABLE":
    case "PROVIDER_PROTOCOL":
      breaker.failed();
      return;
    case "RATE_LIMITED":
    case "CANCELLED":
    case "DEADLINE_EXCEEDED":
    case "INTERNAL":
      breaker.released();
      return;
    default:
      breaker.succeeded();
  }
}

/** The refusal of a model whose window is known to be smaller than what is asked for. */
function tooNarrow(
  { provider, model, windowTokens }: Candidate,
  asked: number,
): DevmeshError | undefined {
  if (windowTokens === 0 || asked <= windowTokens) return undefined;
  return new DevmeshError(
    "CONTEXT_LENGTH",
    `${provider.name}/${model} has a window of ${windowTokens} tokens, and ${asked} are needed`,
    {
      metadata: {
        provider: provider.name,
        model,
        limit_tokens: String(windowTokens),
        needed_tokens: String(asked),
      },
    },
  );
}

function spared({ provider }: Candidate, breaker: CircuitBreaker): DevmeshError {
  return new DevmeshError(
    "PROVIDER_UNAVAILABLE",
    `${provider.name}: it failed repeatedly and is spared for a while`,
    { metadata: { provider: provider.name, circuit: "open" }, retryAfterMs: breaker.retryAfterMs },
  );
}
