/** What interceptors know about a call and handlers may read. Never sent over the wire. */
import { type ContextKey, createContextKey } from "@connectrpc/connect";
import type { DevmeshError } from "../errors/index.ts";
import type { Logger } from "../log/index.ts";

/** Who calls. */
export interface Principal {
  /** The token's id, `dev`, `service`, or `anonymous`. */
  readonly id: string;
  /** Whose the caller is: what it makes belongs to this owner. Empty: nobody's. */
  readonly owner: string;
  readonly scopes: ReadonlySet<string>;
  /** The job that the token is bound to. Empty: none. */
  readonly jobId: string;
}

/** Where a call comes from, as the listener saw it. */
export interface Peer {
  /** The remote IP address; `in-process` for calls within the process. */
  readonly address: string;
  /** The `Host` or `:authority` it asked for. Empty if it named none. */
  readonly host: string;
  /** The `Origin` header. Empty if there is none. */
  readonly origin: string;
  /** True if a header says that a proxy stands between. */
  readonly proxied: boolean;
}

/** The caller that sent no credentials. */
export const anonymous: Principal = { id: "anonymous", owner: "", scopes: new Set(), jobId: "" };

/** The peer of calls within the process. */
export const inProcessPeer: Peer = { address: "in-process", host: "", origin: "", proxied: false };

/** The caller of this call. */
export const kPrincipal: ContextKey<Principal> = createContextKey(anonymous, {
  description: "principal",
});

/**
 * What came of asking who calls, where a way in has asked before it read the
 * body. Undefined: nobody has asked yet.
 */
export const kCaller: ContextKey<Promise<Principal> | undefined> = createContextKey<
  Promise<Principal> | undefined
>(undefined, { description: "caller" });

/**
 * What is wrong with the head of the request that this call came in, if
 * anything: the chain throws it once the caller is known.
 */
export const kHeadFault: ContextKey<DevmeshError | undefined> = createContextKey<
  DevmeshError | undefined
>(undefined, { description: "head fault" });

/** Where this call comes from. */
export const kPeer: ContextKey<Peer> = createContextKey(inProcessPeer, { description: "peer" });

/** The id under which logs, audit rows and the answer know this call. */
export const kRequestId: ContextKey<string> = createContextKey("", { description: "request id" });

/** A logger that already names the call. */
export const kLogger: ContextKey<Logger | undefined> = createContextKey<Logger | undefined>(
  undefined,
  { description: "logger" },
);

/**
 * What the call is about, for the audit and the log, for example a job's id.
 * Each call has its own object, so that a handler may fill it in.
 */
export const kSubject: ContextKey<{ resource: string }> = createContextKey(
  { resource: "" },
  { description: "subject" },
);
