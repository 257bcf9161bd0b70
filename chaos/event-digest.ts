/** One SHA-256 over a run of a job's events, the same however they were read. */
import { createHash } from "node:crypto";
import { toJson } from "@bufbuild/protobuf";
import type { JobEvent } from "@devmesh/sdk/node";
import { JobEventSchema } from "@devmesh/sdk/raw";

/** Takes events in order. */
export class EventDigest {
  readonly #hash = createHash("sha256");
  #count = 0;

  /** How many it has taken. */
  get count(): number {
    return this.#count;
  }

  take(event: JobEvent): void {
    this.#hash.update(`${canonical(toJson(JobEventSchema, event))}\n`);
    this.#count += 1;
  }

  /** The digest so far, in hex. */
  hex(): string {
    return this.#hash.copy().digest("hex");
  }
}

/** JSON with sorted keys: a map's order is nobody's promise. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item !== "object" || item === null || Array.isArray(item)) return item;
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
