/**
 * Owns the conversation with one Firecracker over its API socket: requests, bounds on the
 * answers, and what its refusals mean here. Which requests are sent, and when, is left to
 * `firecracker-vm.ts`.
 */
import { type IncomingMessage, request } from "node:http";
import { DevmeshError } from "@devmesh/mesh/errors";
import { sandboxFailed } from "../driver-errors.ts";

/** Plain data of a request's body. */
export type ApiBody = Readonly<Record<string, unknown>>;

/** One request of the API. */
export interface ApiRequest {
  readonly method: "GET" | "PUT" | "PATCH";
  /** For example `/boot-source`. */
  readonly path: string;
  readonly body?: ApiBody;
}

/** What a client works with. */
export interface ApiClientOptions {
  /** The API socket on the host. */
  readonly socketPath: string;
  /** How long one answer may take. Default: 5 s. */
  readonly timeoutMs?: number;
}

const defaultTimeoutMs = 5_000;
const maxAnswerBytes = 64 << 10;
const faultChars = 500;

/** A client of one Firecracker. */
export class FirecrackerApi {
  readonly #options: ApiClientOptions;

  constructor(options: ApiClientOptions) {
    this.#options = options;
  }

  /**
   * Sends a request and answers what came back; `undefined` for an answer without a body.
   * Throws SANDBOX_FAILED for a refusal, for what is no answer, for one that is too large
   * or too late, and CANCELLED when `signal` fires.
   */
  async send(wanted: ApiRequest, signal?: AbortSignal): Promise<unknown> {
    const what = `${wanted.method} ${wanted.path}`;
    const { timeoutMs = defaultTimeoutMs } = this.#options;
    const limit = AbortSignal.timeout(timeoutMs);
    const stop = signal ? AbortSignal.any([signal, limit]) : limit;
    let status: number;
    let text: string;
    try {
      const answer = await this.#exchange(wanted, stop);
      status = answer.statusCode ?? 0;
      text = await textOf(answer, stop);
    } catch (error: unknown) {
      if (signal?.aborted) {
        throw new DevmeshError("CANCELLED", "the call was cancelled", { cause: error });
      }
      if (error instanceof DevmeshError) throw error;
      const why = limit.aborted ? `did not answer within ${timeoutMs} ms` : "gave no answer";
      throw failed(`Firecracker ${why} to ${what}`, error);
    }
    const body = bodyOf(text, what);
    if (status === 200 || status === 204) return body;
    throw failed(`Firecracker refuses ${what} (${status}): ${faultOf(body)}`);
  }

  #exchange({ method, path, body }: ApiRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const data = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    return new Promise((resolve, reject) => {
      const outgoing = request({
        socketPath: this.#options.socketPath,
        method,
        path,
        signal,
        agent: false,
        headers: {
          Accept: "application/json",
          Host: "localhost",
          ...(data && { "Content-Type": "application/json", "Content-Length": data.length }),
        },
      });
      outgoing.once("response", resolve);
      outgoing.once("error", reject);
      outgoing.end(data);
    });
  }
}

async function textOf(answer: IncomingMessage, signal: AbortSignal): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of answer as AsyncIterable<Buffer>) {
    signal.throwIfAborted();
    bytes += part.length;
    if (bytes > maxAnswerBytes) {
      answer.destroy();
      throw failed(`Firecracker's answer is longer than ${maxAnswerBytes} bytes`);
    }
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function bodyOf(text: string, what: string): unknown {
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text);
  } catch (error: unknown) {
    throw failed(`Firecracker's answer to ${what} is no JSON`, error);
  }
}

function faultOf(body: unknown): string {
  const isFault = typeof body === "object" && body !== null && "fault_message" in body;
  const text = isFault && typeof body.fault_message === "string" ? body.fault_message : "";
  return text.slice(0, faultChars) || "no reason given";
}

function failed(message: string, cause?: unknown): DevmeshError {
  return sandboxFailed("firecracker", message, cause);
}
