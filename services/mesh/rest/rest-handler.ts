/** Answers REST calls through the same bound methods as every other way in. */
import { type Message, toJson } from "@bufbuild/protobuf";
import { DevmeshError } from "../errors/index.ts";
import { bodyLimit } from "../interceptors/access.ts";
import { UnreadMessage } from "../interceptors/unread-message.ts";
import { callOf } from "../server/exchange-call.ts";
import { type HttpExchange, type HttpHandler, methodNotAllowed } from "../server/http-exchange.ts";
import { requireJson } from "../server/json-body.ts";
import type { BoundMethod } from "../server/methods.ts";
import { messageOfRequest } from "./message-of-request.ts";
import { type RestRoute, restRoutes } from "./routes.ts";

/** What the handler needs. */
export interface RestOptions {
  readonly methods: readonly BoundMethod[];
  /** The largest body taken, in bytes. */
  readonly maxBodyBytes: number;
  /** Ends streams when the server shuts down. */
  readonly shutdown: AbortSignal;
}

/** Handles every request that a `google.api.http` rule names. */
export function createRestHandler(options: RestOptions): HttpHandler {
  const { methods, maxBodyBytes, shutdown } = options;
  const routes = restRoutes(methods);
  return async (exchange) => {
    const here = routes.flatMap((route) => {
      const variables = route.path.match(exchange.url.pathname);
      return variables === undefined ? [] : [{ route, variables }];
    });
    if (here.length === 0) return false;
    const verb = exchange.verb === "HEAD" ? "GET" : exchange.verb;
    const matching = here.filter(({ route }) => route.verb === verb);
    if (matching.length === 0) {
      throw methodNotAllowed(
        exchange.url.pathname,
        here.map(({ route }) => route.verb),
      );
    }
    const wantsStream = exchange.header("accept").includes("text/event-stream");
    const chosen = matching.find(({ route }) => route.streams === wantsStream) ?? matching[0];
    if (chosen === undefined) return false;
    const { route, variables } = chosen;
    const query = exchange.url.searchParams;
    // The body is read when the caller is known.
    const read = async () => {
      if (route.body !== "") requireJson(exchange);
      const limit = bodyLimit(route.method.desc, maxBodyBytes);
      const body = route.body === "" ? new Uint8Array() : await exchange.body(limit);
      return messageOfRequest(route, { variables, query, body });
    };
    if (route.streams) await answerStream(route, read, exchange, shutdown);
    else await answerUnary(route, read, exchange);
    return true;
  };
}

/** Makes the request's message. */
type Read = () => Promise<Message>;

async function answerUnary(route: RestRoute, read: Read, exchange: HttpExchange): Promise<void> {
  const res = await route.method.unary(new UnreadMessage(read), callOf(exchange, "rest"));
  for (const [key, value] of res.header) exchange.res.setHeader(key, value);
  exchange.json(200, toJson(route.method.desc.output, res.message));
}

/**
 * Server-sent events: `data` is the message as JSON. A message that has (or
 * wraps) a `seq` gives it as the event's id, so that a browser resumes with
 * `Last-Event-ID`.
 */
async function answerStream(
  route: RestRoute,
  read: Read,
  exchange: HttpExchange,
  shutdown: AbortSignal,
): Promise<void> {
  const signal = AbortSignal.any([exchange.signal, shutdown]);
  const init = { ...callOf(exchange, "rest"), signal };
  const res = await route.method.stream(requestOf(exchange, read), init);
  const messages = res.message[Symbol.asyncIterator]();
  // The first message comes before the head, so that a refusal has its status.
  let next = await messages.next();
  exchange.startEventStream();
  try {
    if (exchange.verb === "HEAD") {
      exchange.res.end();
      return;
    }
    for (; next.done !== true; next = await messages.next()) {
      const json = toJson(route.method.desc.output, next.value);
      const seq = seqOf(next.value);
      const id = seq === undefined ? "" : `id: ${seq}\n`;
      await exchange.write(`${id}data: ${JSON.stringify(json)}\n\n`);
    }
    exchange.res.end();
  } catch (error) {
    await exchange.write(`event: error\ndata: ${JSON.stringify(exchange.problem(error))}\n\n`);
    exchange.res.end();
  } finally {
    await messages.return?.(undefined);
  }
}

/** The one message of a stream's request; a browser that comes back says where it was. */
async function* requestOf(exchange: HttpExchange, read: Read) {
  const lastEventId = exchange.header("last-event-id");
  if (lastEventId !== "") {
    exchange.url.searchParams.set("from", String(resumeFrom(lastEventId)));
  }
  yield await read();
}

function seqOf(message: Message): number | undefined {
  const step = (message as { step?: { value?: { seq?: unknown } } }).step?.value?.seq;
  return typeof step === "number" ? step : undefined;
}

function resumeFrom(lastEventId: string): number {
  const last = Number(lastEventId);
  if (Number.isInteger(last) && last >= 0) return last + 1;
  throw new DevmeshError("INVALID_FIELD", "Last-Event-ID: wants the number of the last event", {
    metadata: { field: "Last-Event-ID" },
  });
}
