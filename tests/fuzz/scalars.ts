/** Values that a field's type and rules allow, at its bounds, and beyond them. */
import { type DescEnum, ScalarType } from "@bufbuild/protobuf";
import type { FieldRules } from "@devmesh/gen/buf/validate/validate_pb";
import type { Random } from "./random.ts";
import { delimited, doubleField, varintField, zigzag } from "./wire.ts";
import type { World } from "./world.ts";

/** A value in both encodings. */
export interface Scalar {
  readonly json: string;
  /** The field with this number. */
  wire(number: number): Buffer;
}

/** Whether a value keeps to the rules, or stands where they end. */
export type Aim = "valid" | "edge";

/** Texts that rules with a pattern want; the first that matches is taken. */
const samples = ["read:jobs", "A_B", "fuzz", "Job.Create", "JobService.CreateJob", ""] as const;

/** A value of a scalar field. */
export function scalarOf(
  type: ScalarType,
  rules: FieldRules | undefined,
  known: readonly string[],
  aim: Aim,
  random: Random,
): Scalar {
  switch (type) {
    case ScalarType.STRING:
      return textScalar(textOf(rules, known, aim, random));
    case ScalarType.BYTES: {
      const max = rules?.type.case === "bytes" ? Number(rules.type.value.maxLen ?? 64n) : 64;
      const atEdge = aim === "edge" && max <= 70_000;
      const bytes = atEdge
        ? Buffer.alloc(max + random.below(2), 1)
        : random.bytes(random.below(20));
      return {
        json: JSON.stringify(bytes.toString("base64")),
        wire: (number) => delimited(number, bytes),
      };
    }
    case ScalarType.BOOL: {
      const value = random.chance(0.5);
      return { json: String(value), wire: (number) => varintField(number, value ? 1 : 0) };
    }
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT: {
      const { min, max } = boundsOf(rules, 0, 1);
      const value = aim === "valid" ? min + random.next() * (max - min) : edgeOf(min, max, random);
      return { json: String(value), wire: (number) => doubleField(number, value) };
    }
    default: {
      const { min, max } = boundsOf(rules, 0, 100);
      const near = Math.min(max, min + random.pick([2, 50]));
      const inside = min + random.below(near - min + 1);
      const value = aim === "valid" ? inside : edgeOf(min, max, random);
      const signed = type === ScalarType.SINT32 || type === ScalarType.SINT64;
      const whole = BigInt(Math.trunc(value));
      return {
        json: random.chance(0.5) ? String(whole) : `"${whole}"`,
        wire: (number) => varintField(number, signed ? zigzag(whole) : whole),
      };
    }
  }
}

/** A value of an enum: by name or number, defined unless it stands at the edge. */
export function enumOf(desc: DescEnum, aim: Aim, random: Random): Scalar {
  const value = random.pick(desc.values.length > 1 ? desc.values.slice(1) : desc.values);
  const beyond = random.pick([0, -1, 99, 2 ** 31 - 1, -(2 ** 31)]);
  const number = aim === "valid" ? value.number : beyond;
  const name = random.chance(0.7) ? JSON.stringify(value.name) : String(value.number);
  return {
    json: aim === "valid" ? name : String(number),
    wire: (field) => varintField(field, number),
  };
}

function textScalar(text: string): Scalar {
  return {
    json: JSON.stringify(text),
    wire: (number) => delimited(number, Buffer.from(text)),
  };
}

function textOf(
  rules: FieldRules | undefined,
  known: readonly string[],
  aim: Aim,
  random: Random,
): string {
  const own = rules?.type.case === "string" ? rules.type.value : undefined;
  if (aim === "edge" && own?.maxBytes !== undefined) {
    const max = Number(own.maxBytes);
    if (max <= 5000 || random.chance(0.02)) return "m".repeat(max + random.below(2));
  }
  if (own !== undefined && own.in.length > 0) return random.pick(own.in);
  if (known.length > 0 && random.chance(0.9)) return random.pick(known);
  if (own?.pattern !== undefined) {
    const pattern = new RegExp(own.pattern);
    return samples.find((sample) => pattern.test(sample)) ?? "";
  }
  return random.word(Math.min(12, Number(own?.maxBytes ?? 12n)));
}

/** The text of an id or hash that is there, by the name of the field that names it. */
export function knownTexts(message: string, field: string, world: World): readonly string[] {
  switch (field) {
    case "id":
      if (/Token/.test(message)) return world.tokens;
      return /Agent/.test(message) ? world.runners : world.jobs;
    case "job_id":
      return message.endsWith("LeaseRef") ? world.leased : world.jobs;
    case "runner_id":
      return world.runners;
    case "sha256":
    case "workspace_sha256":
      return [...world.blobs, ""];
    case "page_token":
      return [...world.pageTokens, ""];
    case "model":
      return ["", "chat", "scripted/ledger"];
    case "secret":
      return world.secrets;
    default:
      return [];
  }
}

interface Bounds {
  readonly min: number;
  readonly max: number;
}

/** The bounds that rules of numbers set. */
function boundsOf(rules: FieldRules | undefined, min: number, max: number): Bounds {
  const own = rules?.type.value as
    | { readonly greaterThan?: Bound; readonly lessThan?: Bound }
    | undefined;
  const low = own?.greaterThan?.value;
  const high = own?.lessThan?.value;
  const from = low === undefined ? min : Number(low);
  return { min: from, max: high === undefined ? Math.max(max, from) : Number(high) };
}

interface Bound {
  readonly value?: number | bigint;
}

function edgeOf(min: number, max: number, random: Random): number {
  return random.pick([min, min - 1, max, max + 1, 0, -1]);
}
