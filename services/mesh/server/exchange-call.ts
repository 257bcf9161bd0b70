/** A call that comes as a plain HTTP request. */
import { createContextValues } from "@connectrpc/connect";
import { kHeadFault, kPeer } from "../context/index.ts";
import { headFault } from "./head-faults.ts";
import type { HttpExchange } from "./http-exchange.ts";
import type { CallInit } from "./methods.ts";

/** What a method is told of the request. `protocolName`: `rest`, `openai`. */
export function callOf(exchange: HttpExchange, protocolName: string) {
  return {
    header: exchange.headers,
    signal: exchange.signal,
    timeoutMs: undefined,
    protocolName,
    requestMethod: exchange.verb,
    url: exchange.url.pathname,
    contextValues: createContextValues()
      .set(kPeer, exchange.peer)
      .set(kHeadFault, headFault(exchange.req)),
  } satisfies CallInit;
}
