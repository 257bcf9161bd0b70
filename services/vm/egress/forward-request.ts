/** One request that was let through: to its destination, and the answer back. Judging it is left to the proxy. */
import {
  type Agent,
  type ClientRequest,
  type IncomingMessage,
  request,
  type ServerResponse,
} from "node:http";
import { pipeline } from "node:stream";
import type { SecretHeader } from "./egress-policy.ts";
import { EgressRefusal } from "./refusal.ts";
import { incomingHeaders, outgoingHeaders } from "./request-headers.ts";
import { SecretVeil, veilText } from "./secret-veil.ts";
import type { PinnedDestination } from "./upstreams.ts";

/** What goes where. */
export interface ForwardInput {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly destination: PinnedDestination;
  /** What the destination is told its name is. */
  readonly hostHeader: string;
  /** Path and query as they came. */
  readonly target: string;
  readonly secrets: readonly SecretHeader[];
  readonly agent: Agent;
  /** Called with the address once a connection is there. */
  readonly onConnected: (address: string) => void;
}

/** Resolves when the answer is through, or somebody broke off behind its head. Throws EgressRefusal before that. */
export async function forwardRequest(input: ForwardInput): Promise<void> {
  const { req } = input;
  const hasBody =
    req.headers["content-length"] !== undefined || req.headers["transfer-encoding"] !== undefined;
  const mayRepeat = !hasBody && (req.method === "GET" || req.method === "HEAD");
  for (let again = mayRepeat; ; again = false) {
    const outgoing = startRequest(input);
    try {
      const answer = await answerOf(outgoing, input, hasBody);
      await passBack(answer, input);
      return;
    } catch (error) {
      outgoing.destroy();
      // A kept connection may end just when it is used again; the next one is new.
      if (again && outgoing.reusedSocket && !(error instanceof EgressRefusal)) continue;
      if (error instanceof EgressRefusal) throw error;
      const { host, port } = input.destination;
      const detail = `${host}:${port} broke off`;
      throw new EgressRefusal({ why: "UPSTREAM_FAILED", host, port, detail }, error);
    }
  }
}

function startRequest({ req, destination, hostHeader, target, secrets, agent }: ForwardInput) {
  return request({
    agent,
    host: destination.host,
    port: destination.port,
    method: req.method,
    path: target,
    headers: outgoingHeaders(req, hostHeader, secrets),
    setHost: false,
    maxHeaderSize: 64 * 1024,
  });
}

/** The head of the answer. The body of the request goes on meanwhile, and may not be wanted whole. */
function answerOf(
  outgoing: ClientRequest,
  { req, res, onConnected }: ForwardInput,
  hasBody: boolean,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.once("socket", (socket) => onConnected(socket.remoteAddress ?? ""));
    outgoing.once("response", resolve);
    // Behind the answer's head an error ends the answer.
    outgoing.on("error", reject);
    outgoing.once("close", () => reject(new Error("no answer")));
    const leave = () => {
      outgoing.destroy();
      reject(new Error("the sandbox went away"));
    };
    if (res.destroyed) return leave();
    res.once("close", leave);
    outgoing.once("close", () => res.off("close", leave));
    if (!hasBody) outgoing.end();
    else {
      pipeline(req, outgoing, (error) => {
        if (error) reject(error);
      });
    }
  });
}

function passBack(answer: IncomingMessage, input: ForwardInput): Promise<void> {
  const { res, secrets, destination } = input;
  const coding = answer.headers["content-encoding"] ?? "identity";
  if (secrets.length > 0 && coding.trim().toLowerCase() !== "identity") {
    const { host, port } = destination;
    const detail = `${host}:${port} compressed an answer unasked, which could hide a secret in it`;
    throw new EgressRefusal({ why: "UPSTREAM_FAILED", host, port, detail });
  }
  return new Promise((resolve) => {
    const { statusCode = 502, statusMessage } = answer;
    const values = secrets.map(({ secret }) => secret);
    const text = /^[ -~]*$/.test(statusMessage ?? "") ? veilText(statusMessage ?? "", values) : "";
    res.writeHead(statusCode, text, incomingHeaders(answer, secrets));
    // Either side that breaks off ends the other; the head is out, so there is nothing left to say.
    if (values.length === 0) pipeline(answer, res, () => resolve());
    else pipeline(answer, new SecretVeil(values), res, () => resolve());
  });
}
