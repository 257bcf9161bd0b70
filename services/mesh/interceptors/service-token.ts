/** Authenticates the services of one deployment to each other by a shared secret. */
import { timingSafeEqual } from "node:crypto";
import type { Interceptor } from "@connectrpc/connect";
import { anonymous, type Principal } from "../context/index.ts";
import { DevmeshError } from "../errors/index.ts";
import type { Authenticator } from "./access.ts";

/** Every scope there is: services trust each other. */
class AllScopes extends Set<string> {
  override has(): boolean {
    return true;
  }
}

const service: Principal = {
  id: "service",
  owner: "service",
  scopes: new AllScopes(),
  jobId: "",
};

/** Accepts the one secret; an absent one is anonymous, a wrong one UNAUTHENTICATED. */
export function serviceTokenAuthenticator(secret: string): Authenticator {
  const wanted = Buffer.from(`Bearer ${secret}`);
  return {
    authenticate(header) {
      const shown = header.get("authorization");
      if (shown === null) return anonymous;
      const given = Buffer.from(shown);
      if (given.length === wanted.length && timingSafeEqual(given, wanted)) return service;
      throw new DevmeshError("UNAUTHENTICATED", "the token is unknown, expired or revoked");
    },
  };
}

/** Sends the secret with every call of a client that shows no other. */
export function bearerInterceptor(secret: string): Interceptor {
  const value = `Bearer ${secret}`;
  return (next) => (req) => {
    if (!req.header.has("authorization")) req.header.set("authorization", value);
    return next(req);
  };
}
