/** Makes the request of one case: a message, put into its protocol, and then perhaps damaged. */
import type { DescMethod } from "@bufbuild/protobuf";
import { damageBody, damageHeaders, damagePath, packBody } from "./damage.ts";
import { hostileText } from "./hostile.ts";
import { jsonOf, type Making, makeMessage, type SentMessage, wireOf } from "./messages.ts";
import { openAiMessage } from "./openai.ts";
import { Random } from "./random.ts";
import { responsesMessage } from "./responses.ts";
import { hasGet, type Protocol, restRuleOf, type Target } from "./surface.ts";
import { frame } from "./wire.ts";
import type { World } from "./world.ts";

/** The shape of the answers that a request gets. */
export type Shape = "rest" | "openai" | "connect" | "connect-stream" | "grpc" | "ws";

/** A request as it is sent. */
export interface Request {
  readonly shape: Shape;
  readonly verb: string;
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Buffer;
  /** True: what was done to it may cost the connection, or be refused before any method sees it. */
  readonly broken: boolean;
  /** True: the answer is a stream that may have no end; a little of it is enough. */
  readonly endless: boolean;
}

/** Which case. */
export interface CaseId {
  readonly seed: number;
  readonly target: Target;
  readonly protocol: Protocol;
  readonly number: number;
}

/** Makes a case; the same id gives the same request, but for the world's ids. */
export function makeCase(id: CaseId, world: World, token: string): Request {
  const { target, protocol } = id;
  const random = new Random(id.seed, target.name, protocol, id.number);
  const making: Making = { random, world, wrong: random.pick([0, 0.02, 0.1, 0.1, 0.4]) };
  const sound = soundRequest(id, making);
  const headers: Request["headers"] = [["authorization", `Bearer ${token}`], ...sound.headers];
  if (random.chance(0.6)) return { ...sound, headers };
  let request: Request = { ...sound, headers };
  if (random.chance(0.4)) request = damageBody(request, random);
  if (random.chance(0.2)) request = packBody(request, random);
  if (random.chance(0.5)) request = damageHeaders(request, random, token);
  if (random.chance(0.1)) request = damagePath(request, random);
  return request;
}

function soundRequest({ target, protocol }: CaseId, making: Making): Request {
  const { desc } = target;
  if (desc === undefined) return openAiRequest(target, making);
  switch (protocol) {
    case "rest":
      return restRequest(desc, making);
    case "connect":
      return connectRequest(desc, making);
    case "grpc":
      return grpcRequest(desc, making);
    case "ws":
      return socketRequest(making);
  }
}

const none = Buffer.alloc(0);
const plain = { broken: false, endless: false, body: none };

function openAiRequest({ name }: Target, making: Making): Request {
  if (name === "OpenAI.Models") {
    const path = `/v1/models${making.random.pick(["", "?x=1", "/"])}`;
    return { ...plain, shape: "openai", verb: "GET", path, headers: [] };
  }
  const isResponses = name === "OpenAI.Responses";
  const message = isResponses ? responsesMessage(making) : openAiMessage(making);
  return {
    ...plain,
    shape: "openai",
    verb: "POST",
    path: isResponses ? "/v1/responses" : "/v1/chat/completions",
    headers: [["content-type", "application/json"]],
    body: Buffer.from(jsonOf(message)),
  };
}

function restRequest(desc: DescMethod, making: Making): Request {
  const { random } = making;
  const rule = restRuleOf(desc);
  if (rule === undefined) throw new Error(`${desc.name} has no REST rule`);
  const message = makeMessage(desc.input, making);
  const inPath = new Set([...rule.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? ""));
  const nameOf = (name: string) => desc.input.fields.find((f) => f.jsonName === name)?.name ?? name;
  const rest = message.fields.filter(({ name }) => !inPath.has(nameOf(name)));
  const path = rule.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const field = message.fields.find((f) => nameOf(f.name) === name);
    const text = field === undefined ? hostileText(random) : textOf(field.json);
    return inAddress(text.slice(0, 2000)) || "%20";
  });
  let body = none;
  let query = "";
  if (rule.body === "*") body = Buffer.from(jsonOf({ fields: rest }));
  else if (rule.body === "") query = queryOf({ fields: rest });
  else {
    body = Buffer.from(rest.find(({ name }) => nameOf(name) === rule.body)?.json ?? "{}");
    query = queryOf({ fields: rest.filter(({ name }) => nameOf(name) !== rule.body) });
  }
  const streams = desc.methodKind === "server_streaming";
  return {
    shape: "rest",
    verb: rule.verb,
    path: query === "" ? path : `${path}?${query.slice(0, 8000)}`,
    headers: [
      ...(body.length > 0 ? ([["content-type", "application/json"]] as const) : []),
      ...(streams ? ([["accept", "text/event-stream"]] as const) : []),
      ...(streams && random.chance(0.2)
        ? ([["last-event-id", random.pick(["0", "1", "x", "-1", "1e9", "99999999999"])]] as const)
        : []),
    ],
    body,
    broken: false,
    endless: streams,
  };
}

/** What stands in an address for a JSON value. */
function textOf(json: string): string {
  if (!json.startsWith('"')) return json;
  try {
    return String(JSON.parse(json));
  } catch {
    // It was no JSON: it goes as it is.
    return json;
  }
}

function queryOf(message: SentMessage, prefix = ""): string {
  const parts = message.fields.map(({ name, json, inner }) => {
    if (inner !== undefined) return queryOf(inner, `${prefix}${name}.`);
    return `${inAddress(prefix + name)}=${inAddress(textOf(json).slice(0, 3000))}`;
  });
  return parts.filter((part) => part !== "").join("&");
}

function inAddress(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

function connectRequest(desc: DescMethod, making: Making): Request {
  const { random } = making;
  const binary = random.chance(0.5);
  const bytesOf = () => {
    const message = makeMessage(desc.input, making);
    return binary ? wireOf(message) : Buffer.from(jsonOf(message));
  };
  const path = `/${desc.parent.typeName}/${desc.name}`;
  const kind = binary ? "proto" : "json";
  if (desc.methodKind !== "unary") {
    const count = desc.methodKind === "server_streaming" ? 1 : random.below(4);
    return {
      shape: "connect-stream",
      verb: "POST",
      path,
      headers: [["content-type", `application/connect+${kind}`]],
      body: Buffer.concat(Array.from({ length: count }, () => frame(bytesOf()))),
      broken: false,
      endless: desc.methodKind === "server_streaming",
    };
  }
  if (hasGet(desc) && random.chance(0.3)) {
    const bytes = bytesOf();
    const text = bytes.length > 6000 ? "" : bytes.toString("base64url");
    const isPlain = !binary && random.chance(0.5);
    const message = isPlain
      ? encodeURIComponent(bytes.toString().slice(0, 4000).toWellFormed())
      : text;
    const query = `encoding=${kind}&message=${message}${isPlain ? "" : "&base64=1"}&connect=v1`;
    return { ...plain, shape: "connect", verb: "GET", path: `${path}?${query}`, headers: [] };
  }
  const headers = [["content-type", `application/${kind}`]] as const;
  return { ...plain, shape: "connect", verb: "POST", path, headers, body: bytesOf() };
}

function grpcRequest(desc: DescMethod, making: Making): Request {
  const { random } = making;
  const web = random.chance(0.1);
  const clientStreams = desc.methodKind === "client_streaming";
  const count = clientStreams ? random.below(4) : 1;
  return {
    shape: "grpc",
    verb: "POST",
    path: `/${desc.parent.typeName}/${desc.name}`,
    headers: [
      ["content-type", web ? "application/grpc-web+proto" : "application/grpc"],
      ["te", "trailers"],
    ],
    body: Buffer.concat(
      Array.from({ length: count }, () => frame(wireOf(makeMessage(desc.input, making)))),
    ),
    broken: false,
    endless: desc.methodKind === "server_streaming",
  };
}

function socketRequest({ random, world, wrong }: Making): Request {
  const id = random.chance(wrong) ? hostileText(random) : random.pick(world.jobs);
  const from = random.chance(wrong) ? hostileText(random) : String(random.below(4));
  const frames = Array.from({ length: random.below(3) }, () => random.bytes(random.below(200)));
  return {
    shape: "ws",
    verb: "GET",
    path: `/v1/stream/${inAddress(id)}${random.chance(0.5) ? `?from=${inAddress(from)}` : ""}`,
    headers: [
      ["connection", "Upgrade"],
      ["upgrade", random.chance(wrong) ? "h2c" : "websocket"],
      ["sec-websocket-version", random.chance(wrong) ? "7" : "13"],
      ["sec-websocket-key", random.chance(wrong) ? "x" : random.bytes(16).toString("base64")],
      ...(random.chance(0.3) ? ([["sec-websocket-protocol", "devmesh.v1"]] as const) : []),
    ],
    // Said after the upgrade: hardly ever a frame.
    body: Buffer.concat(frames),
    broken: false,
    endless: true,
  };
}
