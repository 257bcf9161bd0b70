/**
 * The errors that providers throw, each with the reason and the metadata of
 * the port's contract. Reading a provider's own errors is left to its folder.
 */
import { DevmeshError } from "@devmesh/mesh/errors";
import { redact } from "@devmesh/mesh/log";

/** The longest text of a provider that a message quotes, in characters. */
const maxQuoted = 300;

/** The provider could not be reached or broke off; another may be tried. */
export function unavailable(provider: string, what: string, cause?: unknown): DevmeshError {
  return new DevmeshError("PROVIDER_UNAVAILABLE", `${provider}: ${quoted(what)}`, {
    metadata: { provider },
    cause,
  });
}

/** The provider answered something that is not its protocol. */
export function protocolError(provider: string, what: string, cause?: unknown): DevmeshError {
  return new DevmeshError("PROVIDER_PROTOCOL", `${provider}: ${quoted(what)}`, {
    metadata: { provider },
    cause,
  });
}

/** The provider, or its queue, is full. */
export function rateLimited(
  provider: string,
  what: string,
  retryAfterMs: number | undefined,
  cause?: unknown,
): DevmeshError {
  return new DevmeshError("RATE_LIMITED", `${provider}: ${quoted(what)}`, {
    metadata: { provider },
    cause,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** The provider does not have the model. */
export function modelNotFound(provider: string, model: string, cause?: unknown): DevmeshError {
  return new DevmeshError(
    "MODEL_NOT_FOUND",
    `${provider} has no model ${JSON.stringify(quoted(model))}`,
    { metadata: { provider, model: quoted(model) }, cause },
  );
}

/** The prompt does not fit. `limitTokens` is undefined where the provider did not tell. */
export function contextLength(
  provider: string,
  limitTokens: number | undefined,
  cause?: unknown,
): DevmeshError {
  const limit = limitTokens === undefined ? "its window" : `its window of ${limitTokens} tokens`;
  return new DevmeshError("CONTEXT_LENGTH", `${provider}: the prompt is longer than ${limit}`, {
    metadata: {
      provider,
      ...(limitTokens !== undefined && { limit_tokens: String(limitTokens) }),
    },
    cause,
  });
}

/** The provider refused the content. */
export function contentFiltered(provider: string, cause?: unknown): DevmeshError {
  return new DevmeshError("CONTENT_FILTERED", `${provider} refused the content`, {
    metadata: { provider },
    cause,
  });
}

/** The provider has no model that embeds. */
export function noEmbedder(provider: string): DevmeshError {
  return new DevmeshError("NO_EMBEDDER", `${provider} has no embedding model`, {
    metadata: { provider },
  });
}

/** The caller went away. */
export function cancelled(cause?: unknown): DevmeshError {
  return new DevmeshError("CANCELLED", "the call was cancelled", { cause });
}

/** Throws CANCELLED if the signal has aborted. */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled(signal.reason);
}

function quoted(text: string): string {
  const line = redact(text).replace(/\s+/g, " ").trim();
  return line.length > maxQuoted ? `${line.slice(0, maxQuoted)}…` : line;
}
