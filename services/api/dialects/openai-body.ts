/** What the OpenAI dialect's requests have in common: reading a body, its bounds, a tool. */
import type { JsonObject } from "@bufbuild/protobuf";
import { DevmeshError, invalidField } from "@devmesh/mesh/errors";
import { isObject, type Json, JsonReader } from "./json-reader.ts";

/** What the contract takes of tokens; larger numbers are no whole ones in JSON any more. */
export const tokenBounds = { min: 0, max: 1_000_000 };

/** How deep a document may be: what comes behind walks it by recursion. */
const maxDepth = 100;

/** The object of a body. Throws MALFORMED_BODY. */
export function readBody(body: Uint8Array): JsonReader {
  return new JsonReader(parse(body), "");
}

/** A function that a model may call; `fn` has `name`, `description` and `parameters`. */
export function toTool(fn: JsonReader) {
  const name = fn.string("name");
  if (!/^[^\s\p{Cc}]{1,128}$/u.test(name)) {
    throw invalidField(fn.at("name"), "must be a name without spaces, of 1 to 128 characters");
  }
  const parameters = fn.raw("parameters");
  if (parameters !== undefined && !isObject(parameters)) {
    throw invalidField(fn.at("parameters"), "must be an object");
  }
  return {
    name,
    description: fn.string("description"),
    ...(parameters && { parameters: parameters as JsonObject }),
  };
}

function parse(body: Uint8Array): Json {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body).toString("utf8"));
  } catch (error) {
    const why = error instanceof Error ? error.message : "unreadable";
    throw new DevmeshError("MALFORMED_BODY", `the body is not JSON: ${why}`);
  }
  if (isObject(value) && isWithinDepth(value, maxDepth)) return value;
  if (isObject(value)) throw new DevmeshError("MALFORMED_BODY", "the body is nested too deeply");
  throw new DevmeshError("MALFORMED_BODY", "the body must be a JSON object");
}

function isWithinDepth(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  return depth > 0 && Object.values(value).every((item) => isWithinDepth(item, depth - 1));
}
