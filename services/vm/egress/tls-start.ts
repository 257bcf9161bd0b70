/** The start of a TLS connection in a tunnel: what it says before anybody answers it. */
import type { Duplex } from "node:stream";
import { type HelloReading, readClientHello } from "./client-hello.ts";

/** What came first, and what it says. */
export interface TlsStart {
  readonly bytes: Buffer;
  readonly reading: Exclude<HelloReading, { state: "more" }>;
}

/** A fatal alert `unrecognized_name`. */
export const nameAlert = Buffer.from([21, 3, 1, 0, 2, 2, 112]);

/**
 * Reads until the first message is whole; the stream is paused then. Undefined
 * if the other side left before it had begun.
 */
export function readTlsStart(
  stream: Duplex,
  head: Buffer,
  timeoutMs: number,
): Promise<TlsStart | undefined> {
  return new Promise((resolve) => {
    let bytes: Buffer = Buffer.alloc(0);
    const end = (start: TlsStart | undefined) => {
      clearTimeout(timer);
      stream.off("data", take).off("end", leave).off("close", leave);
      stream.pause();
      resolve(start);
    };
    const take = (chunk: Buffer) => {
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      const reading = readClientHello(bytes);
      if (reading.state !== "more") end({ bytes, reading });
    };
    const fail = (detail: string) =>
      end({ bytes, reading: { state: "refused", why: "NO_TLS", detail } });
    const leave = () =>
      bytes.length === 0 ? end(undefined) : fail("it ends within its first message");
    const timer = setTimeout(() => fail("its first message did not come in time"), timeoutMs);
    stream.on("data", take).once("end", leave).once("close", leave);
    if (stream.destroyed) leave();
    else if (head.length > 0) take(head);
  });
}
