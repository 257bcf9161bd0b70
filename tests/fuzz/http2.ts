/** HTTP/2 with prior knowledge: one session that many requests share. */
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { type Answer, enoughBytes, lateAfterMs } from "./answer.ts";
import type { Request } from "./cases.ts";

/** Sends requests; makes a new session when the last has ended. */
export class Http2Sender {
  readonly #url: string;
  #session: ClientHttp2Session | undefined;

  constructor(port: number) {
    this.#url = `http://127.0.0.1:${port}`;
  }

  /** Sends a request. Undefined: Node's client refuses to send it. */
  async send(request: Request): Promise<Answer | undefined> {
    const stream = this.#open(request);
    if (stream === undefined) return undefined;
    return new Promise((resolve) => {
      const headers = new Map<string, string>();
      const chunks: Buffer[] = [];
      let size = 0;
      let status = 0;
      const end = (answer: Answer) => {
        clearTimeout(timer);
        resolve(answer);
        if (!stream.closed) stream.close();
      };
      const timer = setTimeout(() => end({ kind: "late" }), lateAfterMs);
      const note = (found: object) => {
        for (const [name, value] of Object.entries(found)) headers.set(name, String(value));
      };
      const whole = (cut: boolean) => {
        end({ kind: "answer", status, headers, body: Buffer.concat(chunks), cut });
      };
      stream.on("response", (found) => {
        status = Number(found[":status"]);
        note(found);
      });
      stream.on("trailers", note);
      stream.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        const isMessage = chunks[0] !== undefined && ((chunks[0][0] ?? 0) & 0x82) === 0;
        if (size > enoughBytes || (request.endless && isMessage)) whole(true);
      });
      let detail = "";
      stream.on("error", (error: Error) => {
        detail = error.message;
      });
      stream.once("close", () => {
        if (status === 0) end({ kind: "closed", detail: `${detail} ${stream.rstCode}` });
        else whole(stream.rstCode !== 0);
      });
      stream.end(request.body);
    });
  }

  /** Ends the session. */
  close(): void {
    this.#session?.destroy();
    this.#session = undefined;
  }

  #open({ verb, path, headers }: Request): ClientHttp2Stream | undefined {
    if (this.#session === undefined || this.#session.closed || this.#session.destroyed) {
      this.#session = connect(this.#url);
      this.#session.on("error", () => {});
      this.#session.setMaxListeners(0);
    }
    const sent: Record<string, string | string[]> = { ":method": verb, ":path": path };
    for (const [name, value] of headers) {
      const before = sent[name];
      sent[name] = before === undefined ? value : [before, value].flat();
    }
    try {
      return this.#session.request(sent, { endStream: false });
    } catch {
      // Headers that belong to one connection, or come once, cannot be sent by it.
      return undefined;
    }
  }
}
