/**
 * Asks who calls before a body is read. The chain of interceptors refuses, as
 * it always does, with its log line and its audit row; this only tells a way in
 * that it need not read on.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import type { ContextValues } from "@connectrpc/connect";
import { kCaller, kPeer, type Principal } from "../context/index.ts";
import { type Authenticator, accessOf, requireAccess } from "../interceptors/access.ts";

/**
 * True if the caller may call the method. Leaves in the values what came of
 * asking, so that the chain does not ask again.
 */
export type Admit = (
  method: DescMethod,
  header: Headers,
  values: ContextValues,
) => Promise<boolean>;

/** Makes it. */
export function createAdmission(authenticator: Authenticator): Admit {
  const ask = async (header: Headers, values: ContextValues): Promise<Principal> =>
    authenticator.authenticate(header, values.get(kPeer));
  return async (method, header, values) => {
    const rule = accessOf(method);
    if (rule === undefined) return true;
    const caller = ask(header, values);
    values.set(kCaller, caller);
    try {
      const principal = await caller;
      requireAccess(principal, rule);
      return true;
    } catch {
      // The chain throws it again, to be logged and answered.
      return false;
    }
  };
}
