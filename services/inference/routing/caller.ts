/** Reads on whose behalf a call is made from what the interceptors know of it. */
import type { ContextValues } from "@connectrpc/connect";
import { kLogger, kPrincipal, kRequestId } from "@devmesh/mesh/context";
import type { Logger } from "@devmesh/mesh/log";
import type { Caller } from "./route.ts";

/** The caller of a call. `jobId`: empty for none. */
export function callerOf(values: ContextValues, fallback: Logger, jobId: string): Caller {
  return {
    principal: values.get(kPrincipal).id,
    jobId,
    requestId: values.get(kRequestId),
    logger: values.get(kLogger) ?? fallback,
  };
}
