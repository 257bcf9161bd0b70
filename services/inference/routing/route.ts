/** What a routed call is asked with and what it tells of its way. */
import { DevmeshError, type Reason } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import type { ChatInput, ChatPiece, Embeddings, EmbedInput } from "../providers/provider.ts";
import type { PolicyMode, PolicyOverride } from "./policy.ts";
import type { Candidate } from "./registry.ts";

/** On whose behalf a call is made. */
export interface Caller {
  /** The principal's id. */
  readonly principal: string;
  /** Empty: none. */
  readonly jobId: string;
  readonly requestId: string;
  readonly logger: Logger;
}

/** A conversation to be answered by whoever may; `model` is a role or a name as requested. */
export interface RoutedChat {
  readonly input: ChatInput;
  readonly override: PolicyOverride;
  /** The deployment's mode as it holds now. Absent: the one of the start. */
  readonly deploymentMode?: PolicyMode | undefined;
  readonly caller: Caller;
}

/** Texts to be embedded by whoever may; `model` is a role or a name as requested. */
export interface RoutedEmbed {
  readonly input: EmbedInput;
  readonly override: PolicyOverride;
  readonly caller: Caller;
}

/** A try that failed. */
export interface RouteAttempt {
  readonly provider: string;
  readonly model: string;
  readonly reason: Reason;
  readonly message: string;
}

/** Who answers, why, and who was tried before. */
export interface RouteReceipt {
  readonly provider: string;
  readonly model: string;
  readonly local: boolean;
  readonly why: string;
  readonly attempts: readonly RouteAttempt[];
}

/** A piece of a routed answer; `route` comes first, once. */
export type RoutedPiece = { readonly type: "route"; readonly receipt: RouteReceipt } | ChatPiece;

/** Vectors, and who made them. */
export interface RoutedEmbeddings extends Embeddings {
  readonly receipt: RouteReceipt;
}

/** The receipt of the candidate that answers. */
export function receiptOf(
  { provider, model, why }: Candidate,
  attempts: readonly RouteAttempt[],
): RouteReceipt {
  return { provider: provider.name, model, local: provider.local, why, attempts: [...attempts] };
}

/** The entry of a candidate that failed. */
export function attemptOf({ provider, model }: Candidate, error: DevmeshError): RouteAttempt {
  return { provider: provider.name, model, reason: error.reason, message: error.message };
}

/** True if another provider may be asked after this failure. */
export function fallsOver(reason: Reason): boolean {
  switch (reason) {
    case "PROVIDER_UNAVAILABLE":
    case "PROVIDER_PROTOCOL":
    case "RATE_LIMITED":
    case "MODEL_NOT_FOUND":
    case "NO_EMBEDDER":
      return true;
    default:
      return false;
  }
}

/** The last failure, which says all attempts if there were several. */
export function exhausted(attempts: readonly RouteAttempt[], last: DevmeshError): DevmeshError {
  if (attempts.length < 2) return last;
  const tried = attempts.map(({ provider, model, reason }) => `${provider}/${model}: ${reason}`);
  return new DevmeshError(last.reason, `every provider failed; the last: ${last.message}`, {
    metadata: { ...last.metadata, attempts: tried.join("; ") },
    cause: last,
    ...(last.retryAfterMs !== undefined && { retryAfterMs: last.retryAfterMs }),
  });
}
