/** Refuses calls whose head is at fault. What a fault is, a way in says. */
import type { Interceptor } from "@connectrpc/connect";
import { kHeadFault } from "../context/index.ts";

/** Throws what the way in found wrong with the request's head. */
export function headFaultInterceptor(): Interceptor {
  return (next) => (req) => {
    const fault = req.contextValues.get(kHeadFault);
    return fault === undefined ? next(req) : Promise.reject(fault);
  };
}
