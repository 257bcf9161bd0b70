/** Reads fields of foreign JSON and names the one that has the wrong type. */
import { invalidField } from "@devmesh/mesh/errors";

/** A JSON object. */
export type Json = Record<string, unknown>;

/** True for objects, not for arrays and null. */
export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** One object of a document. `null` counts as absent. */
export class JsonReader {
  readonly #value: Json;
  /** Where the object is in the document, for messages. */
  readonly path: string;

  constructor(value: Json, path: string) {
    this.#value = value;
    this.path = path;
  }

  /** The field as it is. */
  raw(name: string): unknown {
    return Object.hasOwn(this.#value, name) ? (this.#value[name] ?? undefined) : undefined;
  }

  /** A text; empty if absent. */
  string(name: string): string {
    const value = this.raw(name) ?? "";
    if (typeof value !== "string") throw this.#wrong(name, "a string");
    return value;
  }

  /** A finite number, or undefined. */
  number(name: string): number | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !Number.isFinite(value)) throw this.#wrong(name, "a number");
    return value;
  }

  /** A whole number within bounds, or undefined. */
  integer(name: string, bounds: { readonly min: number; readonly max: number }) {
    const value = this.number(name);
    if (value === undefined) return undefined;
    const { min, max } = bounds;
    if (!Number.isInteger(value) || value < min || value > max) {
      throw this.#wrong(name, `a whole number from ${min} to ${max}`);
    }
    return value;
  }

  /** True or false; false if absent. */
  boolean(name: string): boolean {
    const value = this.raw(name) ?? false;
    if (typeof value !== "boolean") throw this.#wrong(name, "true or false");
    return value;
  }

  /** Texts; none if absent. */
  strings(name: string): string[] {
    const value = this.raw(name) ?? [];
    if (!Array.isArray(value) || value.some((item) => typeof item !== "string")) {
      throw this.#wrong(name, "a list of strings");
    }
    return value as string[];
  }

  /** An object. */
  object(name: string): JsonReader {
    const value = this.raw(name);
    if (!isObject(value)) throw this.#wrong(name, "an object");
    return new JsonReader(value, this.at(name));
  }

  /** Objects; none if absent. */
  list(name: string): JsonReader[] {
    const value = this.raw(name) ?? [];
    if (!Array.isArray(value)) throw this.#wrong(name, "a list");
    return value.map((item: unknown, i) => {
      if (!isObject(item)) throw this.#wrong(`${name}[${i}]`, "an object");
      return new JsonReader(item, this.at(`${name}[${i}]`));
    });
  }

  /** The whole path of a field, for messages. */
  at(name: string): string {
    return this.path === "" ? name : `${this.path}.${name}`;
  }

  #wrong(name: string, wanted: string): Error {
    return invalidField(this.at(name), `must be ${wanted}`);
  }
}
