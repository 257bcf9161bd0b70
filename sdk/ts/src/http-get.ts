/** Owns plain HTTP requests beside the calls: what has no protobuf method, as a job's raw log. */
import { checkTokenIsSafe, type DevmeshOptions } from "./options.ts";

/** An answer whose body comes in pieces. */
export interface HttpAnswer {
  readonly status: number;
  /** A header's value, or the empty text. */
  header(name: string): string;
  readonly body: AsyncIterable<Uint8Array>;
}

/** Sends a GET for a path of the server; for runtimes whose `fetch` cannot reach it. */
export type HttpGet = (
  path: string,
  init: { readonly headers: Headers; readonly signal: AbortSignal },
) => Promise<HttpAnswer>;

/** `HttpGet` by the runtime's own `fetch`. */
export function createFetchGet(baseUrl: string): HttpGet {
  return async (path, init) => {
    // A redirect could carry the token to another host.
    const response = await fetch(`${baseUrl}${path}`, { ...init, redirect: "error" });
    const { status, headers, body } = response;
    return { status, header: (name) => headers.get(name) ?? "", body: piecesOf(body) };
  };
}

/** Safari's streams are not iterable. */
async function* piecesOf(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (body === null) return;
  const reader = body.getReader();
  try {
    for (let step = await reader.read(); !step.done; step = await reader.read()) yield step.value;
  } finally {
    // Of a body that failed: its reader has had the error.
    await reader.cancel().catch(() => {});
  }
}

/** The same with the token, after proving that it does not travel in the open. */
export function createAuthorizedGet(
  { baseUrl, token, insecure = false }: DevmeshOptions,
  get: HttpGet,
): HttpGet {
  return async (path, { headers, signal }) => {
    const secret = typeof token === "function" ? await token() : token;
    if (secret !== undefined && secret !== "") {
      checkTokenIsSafe(baseUrl, insecure);
      headers.set("authorization", `Bearer ${secret}`);
    }
    return get(path, { headers, signal });
  };
}
