/** The few requests to a Docker engine that finding it and giving it a base image take. */
import { createReadStream } from "node:fs";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";

const answerLimitMs = 30_000;

/** An answer of the engine. */
export interface EngineAnswer {
  status: number;
  body: string;
}

/** What a request to the engine may carry. */
export interface EngineRequest {
  /** A file that is sent as the body. Default: an empty body. */
  bodyPath?: string;
  /** Default: half a minute. */
  timeoutMs?: number;
}

/** Sends one request over the engine's Unix socket. Throws when there is no whole answer. */
export async function askEngine(
  socketPath: string,
  method: "GET" | "POST",
  path: string,
  { bodyPath, timeoutMs = answerLimitMs }: EngineRequest = {},
): Promise<EngineAnswer> {
  const signal = AbortSignal.timeout(timeoutMs);
  const headers = bodyPath ? { "content-type": "application/x-tar" } : {};
  const outgoing = request({ socketPath, method, path, headers, signal });
  const answered = new Promise<EngineAnswer>((resolve, reject) => {
    outgoing.on("error", reject);
    outgoing.on("response", (response) => {
      const status = response.statusCode ?? 0;
      text(response).then((body) => resolve({ status, body }), reject);
    });
  });
  if (bodyPath) {
    const [answer] = await Promise.all([answered, pipeline(createReadStream(bodyPath), outgoing)]);
    return answer;
  }
  outgoing.end();
  return await answered;
}

/** Whether an engine answers at this socket. */
export async function engineAnswers(socketPath: string): Promise<boolean> {
  try {
    return (await askEngine(socketPath, "GET", "/_ping", { timeoutMs: 5_000 })).status === 200;
  } catch {
    return false;
  }
}
