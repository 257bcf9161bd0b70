/** Authenticates the caller and holds it to the scope that the method declares. */
import { type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import type {
  Interceptor,
  StreamRequest,
  StreamResponse,
  UnaryResponse,
} from "@connectrpc/connect";
import { type Access, access } from "@devmesh/gen/devmesh/options/v1/access_pb";
import { kCaller, kPeer, kPrincipal, type Peer, type Principal } from "../context/index.ts";
import { DevmeshError } from "../errors/index.ts";
import { tapStream, untilAborted } from "../runtime/index.ts";

/** Tells who calls. */
export interface Authenticator {
  /**
   * The caller, or `anonymous` if it shows no credentials. Throws
   * UNAUTHENTICATED for credentials that are not good, ORIGIN_REFUSED for a
   * Host or Origin that may not be answered.
   */
  authenticate(header: Headers, peer: Peer): Promise<Principal> | Principal;

  /**
   * Watches the credentials of a caller whose stream is open. Absent, or
   * undefined: they cannot end.
   */
  watch?(principal: Principal): CredentialWatch | undefined;
}

/** Credentials under watch, until it is disposed of. */
export interface CredentialWatch extends Disposable {
  /** Aborts when the credentials end; its reason is what the caller is told. */
  readonly signal: AbortSignal;
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

/**
 * Sets `kPrincipal`; refuses callers without the method's scope. A stream ends
 * when the credentials of its caller do.
 */
export function accessInterceptor(authenticator: Authenticator): Interceptor {
  return (next) => async (req) => {
    const rule = accessOf(req.method);
    if (rule === undefined) return next(req);
    const { contextValues: values, header } = req;
    const found = values.get(kCaller) ?? authenticator.authenticate(header, values.get(kPeer));
    const principal = found instanceof Promise ? await found : found;
    req.contextValues.set(kPrincipal, principal);
    requireAccess(principal, rule);
    const watch = req.stream ? authenticator.watch?.(principal) : undefined;
    return req.stream && watch !== undefined ? watched(req, next, watch) : next(req);
  };
}

/** Cuts both directions off when the watch says so. */
async function watched(
  req: StreamRequest,
  next: (req: StreamRequest) => Promise<UnaryResponse | StreamResponse>,
  watch: CredentialWatch,
): Promise<UnaryResponse | StreamResponse> {
  const over = () => {
    req.signal.removeEventListener("abort", over);
    watch[Symbol.dispose]();
  };
  // A caller that leaves before the answer is read ends the watch as well.
  req.signal.addEventListener("abort", over, { once: true });
  try {
    const signal = AbortSignal.any([req.signal, watch.signal]);
    const res = await next({ ...req, signal, message: untilAborted(req.message, watch.signal) });
    if (!res.stream) return res;
    const messages = untilAborted(res.message, watch.signal);
    return { ...res, message: tapStream(messages, { end: over }) };
  } catch (error) {
    over();
    throw error;
  }
}

/** Throws UNAUTHENTICATED or SCOPE_MISSING unless the caller may call a method with this rule. */
export function requireAccess(principal: Principal, rule: Access): void {
  if (rule.public || rule.orScopes.some((scope) => principal.scopes.has(scope))) return;
  requireScope(principal, rule.scope);
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
