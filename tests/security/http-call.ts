/** Single HTTP requests with headers that `fetch` would not send. */
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { connect } from "node:http2";

/** What was answered. */
export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
  /** The problem's reason; empty where there is none. */
  readonly reason: string;
}

/** Asks by HTTP/1.1. */
export async function ask1(
  url: string,
  headers: Readonly<Record<string, string>>,
): Promise<HttpAnswer> {
  const req = request(url, { headers, setHost: !("host" in headers), agent: false });
  req.end();
  const [res] = (await once(req, "response")) as [IncomingMessage];
  let text = "";
  for await (const chunk of res) text += String(chunk);
  return answerOf(res.statusCode ?? 0, text);
}

/** Asks by HTTP/2 with any `:authority`. */
export async function ask2(url: string, headers: Readonly<Record<string, string>>) {
  const session = connect(url);
  try {
    const stream = session.request({ ":path": new URL(url).pathname, ...headers });
    const [head] = (await once(stream, "response")) as [{ ":status"?: number }];
    let text = "";
    for await (const chunk of stream) text += String(chunk);
    return answerOf(head[":status"] ?? 0, text);
  } catch (error) {
    // HTTP/2 itself refuses what is no authority at all.
    if (String(error).includes("NGHTTP2_PROTOCOL_ERROR")) return answerOf(400, "");
    throw error;
  } finally {
    session.destroy();
  }
}

function answerOf(status: number, text: string): HttpAnswer {
  try {
    return { status, text, reason: (JSON.parse(text) as { reason?: string }).reason ?? "" };
  } catch {
    return { status, text, reason: "" };
  }
}
