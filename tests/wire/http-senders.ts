/** Plain HTTP clients of the wire tests: `fetch` for HTTP/1.1, node's own client for HTTP/2. */
import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import { gather } from "./waiting.ts";

/** A request as a test words it. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly signal?: AbortSignal | undefined;
}

/** An answer whose body is read as it comes. */
export interface Answer {
  readonly status: number;
  header(name: string): string;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** Sends requests to one server. */
export interface Sender {
  send(asked: Asked): Promise<Answer>;
  close(): void;
}

/** HTTP/1.1 by `fetch`. */
export function fetchSender(baseUrl: string): Sender {
  return {
    async send({ path, signal, ...init }) {
      const res = await fetch(`${baseUrl}${path}`, { ...init, ...(signal && { signal }) });
      return {
        status: res.status,
        header: (name) => res.headers.get(name) ?? "",
        chunks: res.body ?? none(),
      };
    },
    close: () => {},
  };
}

/** HTTP/2 with prior knowledge, on one connection. */
export function http2Sender(baseUrl: string): Sender & { readonly session: ClientHttp2Session } {
  const session = connect(baseUrl);
  session.on("error", () => {});
  return {
    session,
    async send({ method, path, headers = {}, body, signal }) {
      const stream = session.request(
        { ":method": method, ":path": path, ...headers },
        { endStream: body === undefined, ...(signal && { signal }) },
      );
      if (body !== undefined) stream.end(body);
      const [head] = (await once(stream, "response")) as [Record<string, string | number>];
      return {
        status: Number(head[":status"]),
        header: (name) => String(head[name] ?? ""),
        chunks: stream,
      };
    },
    close: () => session.destroy(),
  };
}

/** The whole body. */
export async function bytesOfAnswer({ chunks }: Answer): Promise<Buffer> {
  return Buffer.concat(await gather(chunks));
}

/** The whole body as text. */
export async function textOfAnswer(answer: Answer): Promise<string> {
  return (await bytesOfAnswer(answer)).toString();
}

async function* none(): AsyncIterable<Uint8Array> {}
