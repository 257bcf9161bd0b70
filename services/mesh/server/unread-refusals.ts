/**
 * Answers what Node's reader of HTTP/1.1 gives up on: there is no request then,
 * and no exchange to answer by. The connection ends with the answer.
 */
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { DevmeshError, problemType, toProblem } from "../errors/index.ts";
import type { Logger } from "../log/index.ts";
import type { Ids } from "../runtime/index.ts";
import { headersTooLarge } from "./head-faults.ts";
import { logRefusal } from "./http-exchange.ts";

/** What the refusals are told with. */
export interface UnreadOptions {
  readonly ids: Ids;
  readonly logger: Logger;
}

/** How long a client may go on sending what nobody reads, so that it finds the answer. */
const lingerMs = 1_000;

/** Answers the reader's error and ends the connection. */
export function refuseUnread(error: Error, socket: Duplex, { ids, logger }: UnreadOptions): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const failure = faultOf(error);
  const requestId = ids.next("req");
  logRefusal(logger, failure, { verb: "", requestId });
  const problem = toProblem(failure, requestId);
  const body = JSON.stringify(problem);
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    `content-type: ${problemType}`,
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestId}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
  // Closed on what is still coming, the connection would be reset, and the answer lost.
  const late = setTimeout(() => socket.destroy(), lingerMs).unref();
  socket.once("end", () => socket.destroy());
  socket.once("close", () => clearTimeout(late));
}

/** The reader's fixed words for a fault of the body. */
const bodyFaults = new Set(["HPE_INVALID_CHUNK_SIZE", "HPE_STRICT"]);

/** Headers that the reader itself looks into, by what it says of them. */
const fieldsByWord: readonly (readonly [RegExp, string])[] = [
  [/content-length/i, "Content-Length"],
  [/transfer-encoding/i, "Transfer-Encoding"],
];

function faultOf(error: Error): DevmeshError {
  const { code = "", reason = "" } = error as NodeJS.ErrnoException & { readonly reason?: string };
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return headersTooLarge();
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return new DevmeshError("TOO_LARGE", "the body's chunks have extensions that are too large");
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new DevmeshError("REQUEST_TIMEOUT", "the request was not whole in time");
    case "HPE_INVALID_METHOD":
      return malformed("it does not begin with a method (GET, POST, … in capital letters)");
    default: {
      const why = reason === "" ? "it cannot be read" : reason.toLowerCase();
      if (bodyFaults.has(code)) {
        return new DevmeshError("MALFORMED_BODY", `the body's chunks cannot be read: ${why}`);
      }
      const field = fieldsByWord.find(([word]) => word.test(reason))?.[1];
      return malformed(why, field);
    }
  }
}

function malformed(why: string, field?: string): DevmeshError {
  const text = `this is no request of HTTP/1.1: ${why}`;
  return new DevmeshError("MALFORMED_REQUEST", text, field ? { metadata: { field } } : {});
}
