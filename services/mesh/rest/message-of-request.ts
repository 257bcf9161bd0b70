/** Makes a method's request message from path, query and body of an HTTP request. */
import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { DevmeshError, invalidField } from "../errors/index.ts";
import type { RestRoute } from "./routes.ts";
import { unreadableField } from "./unreadable-field.ts";

/** The parts of an HTTP request that a message is made from. */
export interface RequestParts {
  readonly variables: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly body: Uint8Array;
}

/** Throws MALFORMED_BODY, or INVALID_FIELD that names the field. */
export function messageOfRequest(route: RestRoute, parts: RequestParts): Message {
  const schema = route.method.desc.input;
  const json: JsonObject = bodyJson(route, schema, parts.body);
  if (route.body !== "*") applyQuery(json, schema, parts.query);
  for (const [name, text] of Object.entries(parts.variables)) {
    setPath(json, schema, name, [text]);
  }
  try {
    return fromJson(schema, json);
  } catch (error) {
    const text = error instanceof Error ? error.message : "unreadable";
    const field = unreadableField(schema, json);
    if (field === undefined) throw new DevmeshError("MALFORMED_BODY", text);
    throw new DevmeshError("INVALID_FIELD", text, { metadata: { field } });
  }
}

function bodyJson(route: RestRoute, schema: DescMessage, body: Uint8Array): JsonObject {
  if (route.body === "") return {};
  const value = body.length === 0 ? {} : parse(body);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new DevmeshError("MALFORMED_BODY", "the body must be a JSON object");
  }
  if (route.body === "*") return { ...value };
  const field = schema.fields.find((f) => f.name === route.body);
  return { [field?.jsonName ?? route.body]: value };
}

function parse(body: Uint8Array): JsonValue {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body)) as JsonValue;
  } catch (error) {
    const why = error instanceof SyntaxError ? error.message : "it is not UTF-8";
    throw new DevmeshError("MALFORMED_BODY", `the body is not JSON: ${why}`);
  }
}

function applyQuery(json: JsonObject, schema: DescMessage, query: URLSearchParams): void {
  for (const name of new Set(query.keys())) setPath(json, schema, name, query.getAll(name));
}

/** Sets `a.b.c` of the JSON to texts, converted as the field's type wants. */
function setPath(json: JsonObject, schema: DescMessage, path: string, texts: string[]): void {
  const [head = "", ...rest] = path.split(".");
  const field = schema.fields.find((f) => f.name === head || f.jsonName === head);
  if (field === undefined) {
    throw invalidField(path === "" ? '""' : path, `${schema.typeName} has no such field`);
  }
  if (field.fieldKind === "message" && rest.length > 0) {
    setPath(objectAt(json, field), field.message, rest.join("."), texts);
    return;
  }
  if (field.fieldKind === "map" && rest.length > 0) {
    objectAt(json, field)[rest.join(".")] = texts[0] ?? "";
    return;
  }
  if (rest.length > 0) throw invalidField(path, `${field.jsonName} has no fields`);
  const values = texts.map((text) => toJsonValue(field, text));
  json[field.jsonName] = field.fieldKind === "list" ? values : (values[0] ?? null);
}

/** The object under a field, made if it is missing. */
function objectAt(json: JsonObject, { jsonName }: DescField): JsonObject {
  const inner = json[jsonName] ?? {};
  if (typeof inner !== "object" || inner === null || Array.isArray(inner)) {
    throw invalidField(jsonName, "wants an object");
  }
  json[jsonName] = inner;
  return inner;
}

/** Proto JSON takes numbers as strings; booleans it does not. */
function toJsonValue(field: DescField, text: string): JsonValue {
  if (field.scalar !== ScalarType.BOOL) return text;
  if (text === "true" || text === "") return true;
  if (text === "false") return false;
  throw invalidField(field.jsonName, "wants true or false");
}
