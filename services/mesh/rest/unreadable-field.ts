/** Names the field of a JSON document that cannot be read as a message. */
import { type DescMessage, fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";

/**
 * The path of the first field that cannot be read, by its names in JSON: found
 * by reading each field alone, since not every error of the reader names one.
 * Undefined: each can be read.
 */
export function unreadableField(schema: DescMessage, json: JsonObject): string | undefined {
  const name = Object.keys(json).find((key) => !readable(schema, { [key]: json[key] ?? null }));
  if (name === undefined) return undefined;
  const shown = name === "" ? '""' : name;
  const field = schema.fields.find((f) => f.jsonName === name || f.name === name);
  const value = json[name];
  if (field?.fieldKind !== "message" || !isObject(value)) return shown;
  const inner = unreadableField(field.message, value);
  return inner === undefined ? shown : `${shown}.${inner}`;
}

/** True for JSON objects, not for arrays and null. */
export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readable(schema: DescMessage, json: JsonObject): boolean {
  try {
    fromJson(schema, json);
    return true;
  } catch {
    // What is wrong with it the whole message's error says.
    return false;
  }
}
