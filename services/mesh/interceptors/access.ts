/** Authenticates the caller and holds it to the scope that the method declares. */
import { type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import { type Access, access } from "@devmesh/gen/devmesh/options/v1/access_pb";
import { kCaller, kPeer, kPrincipal, type Peer, type Principal } from "../context/index.ts";
import { DevmeshError } from "../errors/index.ts";

/** Tells who calls. */
export interface Authenticator {
  /**
   * The caller, or `anonymous` if it shows no credentials. Throws
   * UNAUTHENTICATED for credentials that are not good, ORIGIN_REFUSED for a
   * Host or Origin that may not be answered.
   */
  authenticate(header: Headers, peer: Peer): Promise<Principal> | Principal;
}

/**
 * The access rule of a method of ours. Undefined for methods of others
 * (health, reflection), which anybody may call.
 */
export function accessOf(method: DescMethod): Access | undefined {
  // Reading an option parses it: once for each method, not for each call.
  let rule = rules.get(method);
  if (rule === undefined) {
    rule = hasOption(method, access) ? getOption(method, access) : null;
    rules.set(method, rule);
  }
  return rule ?? undefined;
}

const rules = new WeakMap<DescMethod, Access | null>();

/** How much of a body is read of callers whom nobody knows, in bytes. */
const openBodyBytes = 64 * 1024;

/** The largest body taken for a method: anybody may call the open ones, so these take little. */
export function bodyLimit(method: DescMethod, maxBytes: number): number {
  const isOpen = accessOf(method)?.public ?? true;
  return isOpen ? Math.min(openBodyBytes, maxBytes) : maxBytes;
}

/** Sets `kPrincipal`; refuses callers without the method's scope. */
export function accessInterceptor(authenticator: Authenticator): Interceptor {
  return (next) => async (req) => {
    const rule = accessOf(req.method);
    if (rule === undefined) return next(req);
    const { contextValues: values, header } = req;
    const found = values.get(kCaller) ?? authenticator.authenticate(header, values.get(kPeer));
    const principal = found instanceof Promise ? await found : found;
    req.contextValues.set(kPrincipal, principal);
    if (!rule.public) requireScope(principal, rule.scope);
    return next(req);
  };
}

/** Throws UNAUTHENTICATED or SCOPE_MISSING unless the caller holds the scope. */
export function requireScope(principal: Principal, scope: string): void {
  if (principal.scopes.has(scope)) return;
  if (principal.id === "anonymous") {
    throw new DevmeshError(
      "UNAUTHENTICATED",
      "no token: send `Authorization: Bearer …` with a token from `devmesh tokens create`",
    );
  }
  throw new DevmeshError("SCOPE_MISSING", `the token lacks the scope ${scope}`, {
    metadata: { scope },
  });
}
