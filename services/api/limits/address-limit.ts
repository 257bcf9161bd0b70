/**
 * Bounds what an address may try without a good token, so that guessing is
 * slow and costs the stores nothing. In memory: replicas need not agree on it.
 */
import { hash } from "node:crypto";
import { inProcessPeer, type Principal } from "@devmesh/mesh/context";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { type Authenticator, type RateLimit, rateLimited } from "@devmesh/mesh/interceptors";
import type { MemoryRateLimiter } from "./rate-limiter.memory.ts";

/** Good credentials that are remembered at most. */
const maxKnown = 10_000;

/** What the limit needs. */
export interface AddressLimitOptions {
  /** Who really tells the caller. */
  readonly authenticator: Authenticator;
  readonly limiter: MemoryRateLimiter;
  readonly limit: RateLimit;
}

/**
 * The same authenticator, which throws RATE_LIMITED for an address that showed
 * too many bad tokens, or none too often. Tokens that were good before pass:
 * callers behind one proxy do not shut each other out.
 */
export function limitAddresses(options: AddressLimitOptions): Authenticator {
  const { authenticator, limiter, limit } = options;
  const known = new Set<string>();
  const remember = (shown: string) => {
    known.add(digest(shown));
    if (known.size <= maxKnown) return;
    for (const oldest of known) {
      known.delete(oldest);
      break;
    }
  };
  const ended = (principal: Principal, shown: string | null, address: string): Principal => {
    if (principal.id === "anonymous") limiter.take(address, limit);
    // Only where somebody tries tokens is there anything to pass by.
    else if (shown !== null && limiter.knows(address)) remember(shown);
    return principal;
  };
  const failed = (error: unknown, address: string): never => {
    if (toDevmeshError(error).reason === "UNAUTHENTICATED") limiter.take(address, limit);
    throw error;
  };
  return {
    authenticate(header, peer) {
      const { address } = peer;
      if (address === inProcessPeer.address) return authenticator.authenticate(header, peer);
      const shown = header.get("authorization");
      const waitMs = limiter.peek(address, limit);
      if (waitMs > 0 && (shown === null || !known.has(digest(shown)))) {
        throw rateLimited("this address without a good token", waitMs);
      }
      try {
        const found = authenticator.authenticate(header, peer);
        if (!(found instanceof Promise)) return ended(found, shown, address);
        return found.then(
          (principal) => ended(principal, shown, address),
          (error: unknown) => failed(error, address),
        );
      } catch (error) {
        return failed(error, address);
      }
    },
    watch: (principal) => authenticator.watch?.(principal),
  };
}

function digest(shown: string): string {
  return hash("sha256", shown, "base64url");
}
