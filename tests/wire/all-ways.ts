/** The table of all ways into a server. */

import { fetchSender, http2Sender } from "./http-senders.ts";
import { type Served, transportWays, type Way, WireFailure } from "./ways.ts";
import { rawGrpcWay } from "./ways-grpc.ts";
import { connectJsonWay, restWay } from "./ways-http.ts";

/** Every way that the bed's engine has. Close them before the bed ends. */
export function allWays(bed: Served): Way[] {
  const ways = [
    restWay("REST over HTTP/1.1", fetchSender(bed.url)),
    connectJsonWay("Connect JSON by fetch", fetchSender(bed.url)),
    rawGrpcWay(bed.port),
    ...transportWays(bed),
  ];
  if (bed.engine === "grpc-js") return ways;
  return [
    ...ways,
    restWay("REST over HTTP/2", http2Sender(bed.url)),
    connectJsonWay("Connect JSON over HTTP/2", http2Sender(bed.url)),
  ];
}

/** The failure of a call that must fail. */
export async function failureFrom(call: Promise<unknown>): Promise<WireFailure> {
  try {
    await call;
  } catch (error) {
    if (error instanceof WireFailure) return error;
    throw new Error("it failed without an answer of the server", { cause: error });
  }
  throw new Error("it did not fail");
}

/** What a stream gave until it ended, and the failure that ended it. */
export async function collect<T>(messages: AsyncIterable<T>) {
  const got: T[] = [];
  try {
    for await (const message of messages) got.push(message);
  } catch (error) {
    if (error instanceof WireFailure) return { got, failure: error };
    throw error;
  }
  return { got, failure: undefined };
}
