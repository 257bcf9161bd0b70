/** HTTP/1.1 by hand: sends what no client would, and reads what comes. */
import { connect, type Socket } from "node:net";
import { type Answer, enoughBytes, lateAfterMs } from "./answer.ts";
import type { Request } from "./cases.ts";

/** One connection at a time; a new one when the last was closed. */
export class Http1Sender {
  readonly #port: number;
  #socket: Socket | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  /** Sends a request. A connection that the server had closed meanwhile is made anew once. */
  async send(request: Request): Promise<Answer> {
    // While it was idle, the server may have closed it: nothing would ever come.
    if (this.#socket?.writable !== true) this.#socket = undefined;
    const isReused = this.#socket !== undefined;
    const answer = await this.#exchange(request);
    if (answer.kind === "closed" && answer.detail === "" && isReused) {
      return this.#exchange(request);
    }
    return answer;
  }

  /** Ends the connection. */
  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #exchange(request: Request): Promise<Answer> {
    const socket = this.#socket ?? connect({ port: this.#port, host: "127.0.0.1" });
    this.#socket = socket;
    return new Promise((resolve) => {
      const reader = new ResponseReader(request);
      const timer = setTimeout(() => end({ kind: "late" }, false), lateAfterMs);
      const end = (answer: Answer, keep: boolean) => {
        clearTimeout(timer);
        socket.removeAllListeners();
        socket.on("error", () => {});
        if (!keep || request.broken) this.close();
        resolve(answer);
      };
      const gone = () => end(reader.atEnd(), false);
      socket.on("data", (chunk: Buffer) => {
        const answer = reader.take(chunk);
        if (answer !== undefined) end(answer, reader.keepsAlive);
      });
      socket.once("end", gone);
      socket.once("close", gone);
      // A reset is one of the ways in which a connection ends.
      socket.on("error", () => {});
      socket.write(bytesOf(request));
      if (request.broken) socket.end();
    });
  }
}

function bytesOf({ verb, path, headers, body, shape }: Request): Buffer {
  const has = (name: string) => headers.some(([key]) => key === name);
  const lines = [`${verb} ${path} HTTP/1.1`];
  if (!has("host")) lines.push("host: 127.0.0.1");
  if (shape !== "ws" && !has("content-length") && !has("transfer-encoding")) {
    if (body.length > 0 || verb !== "GET") lines.push(`content-length: ${body.length}`);
  }
  for (const [name, value] of headers) lines.push(`${name}: ${value}`);
  return Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), body]);
}

/** Reads one response out of the bytes of a connection. */
class ResponseReader {
  readonly #request: Request;
  #bytes: Buffer = Buffer.alloc(0);
  keepsAlive = false;

  constructor(request: Request) {
    this.#request = request;
  }

  /** The response, as soon as it is whole or enough of it. */
  take(chunk: Buffer): Answer | undefined {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    return this.#read(false);
  }

  /** What there is when the connection ends. */
  atEnd(): Answer {
    const rest = this.#bytes.toString("latin1");
    return this.#read(true) ?? { kind: "closed", detail: rest.slice(0, 200) };
  }

  #read(ended: boolean): Answer | undefined {
    const headEnd = this.#bytes.indexOf("\r\n\r\n");
    if (headEnd === -1) return undefined;
    const [first = "", ...lines] = this.#bytes.toString("latin1", 0, headEnd).split("\r\n");
    const status = Number(first.split(" ")[1]);
    if (status === 100) {
      this.#bytes = this.#bytes.subarray(headEnd + 4);
      return this.#read(ended);
    }
    const headers = headersOf(lines);
    this.keepsAlive = headers.get("connection") !== "close" && status !== 101;
    const rest = this.#bytes.subarray(headEnd + 4);
    const whole = (body: Buffer, cut = false): Answer => ({
      kind: "answer",
      status,
      headers,
      body,
      cut,
    });
    if (status === 101) return rest.length > 0 || ended ? whole(rest, true) : undefined;
    if (this.#request.verb === "HEAD" || status === 204 || status === 304) return whole(rest);
    const length = headers.get("content-length");
    if (length !== undefined) {
      // Behind it may stand another answer: to what came behind the request.
      const body = rest.subarray(0, Number(length));
      return body.length === Number(length) || ended ? whole(body) : undefined;
    }
    if (headers.get("transfer-encoding") !== "chunked") return ended ? whole(rest) : undefined;
    const { body, end } = unchunk(rest);
    // gRPC over HTTP/1.1 has its status behind the last chunk.
    if (end !== undefined) for (const [name, value] of headersOf(end)) headers.set(name, value);
    if (end !== undefined || ended) return whole(body);
    const isEnough = this.#request.endless && isStreamed(body, this.#request);
    if (!isEnough && body.length < enoughBytes) return undefined;
    this.keepsAlive = false;
    return whole(body, true);
  }
}

/** True if a message of a stream that is no error is there. */
function isStreamed(body: Buffer, { shape }: Request): boolean {
  if (shape === "rest") return body.includes("\n\n");
  const isEnd = (body[0] ?? 0) & 0x02;
  return body.length >= 5 && isEnd === 0;
}

function headersOf(lines: readonly string[]): Map<string, string> {
  return new Map(
    lines.map((line) => {
      const at = line.indexOf(":");
      return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()] as const;
    }),
  );
}

/** What is in the chunks; `end` are the lines behind the last, if that is there. */
function unchunk(bytes: Buffer): { body: Buffer; end: string[] | undefined } {
  const parts: Buffer[] = [];
  let at = 0;
  for (;;) {
    const open = { body: Buffer.concat(parts), end: undefined };
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd === -1) return open;
    const size = Number.parseInt(bytes.toString("latin1", at, lineEnd), 16);
    if (size === 0) {
      const stop = bytes.indexOf("\r\n\r\n", lineEnd);
      if (stop === -1) return open;
      const lines = bytes.toString("latin1", lineEnd + 2, stop).split("\r\n");
      return { ...open, end: lines.filter((line) => line !== "") };
    }
    if (bytes.length < lineEnd + 4 + size) return open;
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 4 + size;
  }
}
