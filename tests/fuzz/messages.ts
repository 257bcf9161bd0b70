/** Request messages out of their descriptors: mostly sound, wrong in a few places, in JSON and bytes. */
import {
  type DescField,
  type DescMessage,
  fromJson,
  getOption,
  hasOption,
  toBinary,
} from "@bufbuild/protobuf";
import { DurationSchema, StructSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { type FieldRules, field as fieldOption } from "@devmesh/gen/buf/validate/validate_pb";
import { hostileField, hostileJson, hostileText } from "./hostile.ts";
import type { Random } from "./random.ts";
import { enumOf, knownTexts, type Scalar, scalarOf } from "./scalars.ts";
import { delimited } from "./wire.ts";
import type { World } from "./world.ts";

/** One field of a message that is to be sent. */
export interface SentField {
  /** Its name in JSON. */
  readonly name: string;
  readonly json: string;
  /** Tag and value; of repeated fields all of them. */
  readonly wire: Buffer;
  /** The message in it, for addresses that name `a.b`. */
  readonly inner?: SentMessage;
}

/** A message that is to be sent. */
export interface SentMessage {
  readonly fields: readonly SentField[];
}

/** What values are made from. */
export interface Making {
  readonly random: Random;
  readonly world: World;
  /** How likely each field is wrong. */
  readonly wrong: number;
}

/** The message as JSON, or what looks like it. */
export function jsonOf({ fields }: SentMessage): string {
  return `{${fields.map(({ name, json }) => `${JSON.stringify(name)}:${json}`).join(",")}}`;
}

/** The message as bytes. */
export function wireOf({ fields }: SentMessage): Buffer {
  return Buffer.concat(fields.map(({ wire }) => wire));
}

/** Makes a message. */
export function makeMessage(schema: DescMessage, making: Making): SentMessage {
  const { random, wrong } = making;
  const fields: SentField[] = [];
  const chosen = new Map(schema.oneofs.map((group) => [group.name, random.pick(group.fields)]));
  for (const field of schema.fields) {
    const doubled = random.chance(wrong);
    const other = field.oneof !== undefined && chosen.get(field.oneof.name) !== field;
    if (other && !doubled) continue;
    if (!random.chance(presenceOf(field, wrong))) continue;
    fields.push(makeField(schema, field, making));
    if (doubled) fields.push(makeField(schema, field, making));
  }
  if (random.chance(wrong)) {
    const number = random.pick([99, 19_000, 536_870_911]);
    const name = random.pick(["colour", "__proto__", "", "constructor", "$typeName"]);
    fields.push({ name, json: hostileJson(random), wire: hostileField(number, random) });
  }
  return { fields };
}

/** How likely a field is there: required ones nearly always. */
function presenceOf(field: DescField, wrong: number): number {
  const rules = rulesOf(field);
  if (field.oneof !== undefined && field.fieldKind === "message") return 1 - wrong;
  const value = rules?.type.value as
    | { minBytes?: bigint; minItems?: bigint; pattern?: string; greaterThan?: { value?: unknown } }
    | undefined;
  const from = value?.greaterThan?.value;
  const least = Number(value?.minBytes ?? value?.minItems ?? (typeof from === "object" ? 0 : from));
  const isWanted = rules?.required === true || least > 0 || value?.pattern !== undefined;
  return isWanted ? 1 - wrong / 2 : 0.4;
}

function makeField(schema: DescMessage, field: DescField, making: Making): SentField {
  const { random, wrong } = making;
  const name = random.chance(0.8) ? field.jsonName : field.name;
  if (random.chance(wrong)) {
    return { name, json: hostileJson(random), wire: hostileField(field.number, random) };
  }
  switch (field.fieldKind) {
    case "message": {
      const { json, bytes, inner } = makeSingle(field.message, making);
      const wire = delimited(field.number, bytes);
      return { name, json, wire, ...(inner && { inner }) };
    }
    case "list":
      return { name, ...makeList(schema, field, making) };
    case "map":
      return { name, ...makeMap(schema, field, making) };
    default: {
      const value = makeScalar(schema, field, rulesOf(field), making);
      return { name, json: value.json, wire: value.wire(field.number) };
    }
  }
}

function makeScalar(
  schema: DescMessage,
  field: DescField,
  rules: FieldRules | undefined,
  { random, world, wrong }: Making,
): Scalar {
  const aim = random.chance(wrong) ? "edge" : "valid";
  if (field.enum !== undefined) return enumOf(field.enum, aim, random);
  const type = field.fieldKind === "map" ? field.scalar : field.scalar;
  if (type === undefined) throw new Error(`${field.name} is no scalar`);
  // Ids of other kinds are as good a mistake as any.
  const others = [...world.jobs, ...world.tokens, ...world.blobs];
  const known =
    aim === "edge" && random.chance(0.5) ? others : knownTexts(schema.name, field.name, world);
  return scalarOf(type, rules, known, aim, random);
}

type ListField = DescField & { fieldKind: "list" };
type MapField = DescField & { fieldKind: "map" };

function makeList(schema: DescMessage, field: ListField, making: Making) {
  const { random, wrong } = making;
  const rules = rulesOf(field);
  const own = rules?.type.case === "repeated" ? rules.type.value : undefined;
  const min = Number(own?.minItems ?? 0n);
  const max = Number(own?.maxItems ?? 10n);
  const beyond = random.chance(wrong) && max <= 2000;
  const count = beyond ? random.pick([0, max, max + 1]) : min + random.below(3);
  const one = (): { json: string; wire: Buffer } => {
    if (random.chance(wrong)) {
      return { json: hostileJson(random), wire: hostileField(field.number, random) };
    }
    if (field.listKind === "message") {
      const { json, bytes } = makeSingle(field.message, making);
      return { json, wire: delimited(field.number, bytes) };
    }
    const value = makeScalar(schema, field, own?.items, making);
    return { json: value.json, wire: value.wire(field.number) };
  };
  // A list as long as allowed repeats one value: what is tested is its length.
  const items = count > 20 ? repeated(one(), count) : Array.from({ length: count }, one);
  return {
    json: `[${items.map(({ json }) => json).join(",")}]`,
    wire: Buffer.concat(items.map(({ wire }) => wire)),
  };
}

/** As often as asked, but for what would be larger than any request. */
function repeated<T extends { readonly json: string }>(item: T, count: number): T[] {
  return Array(item.json.length * count > 1_000_000 ? 1 : count).fill(item);
}

function makeMap(schema: DescMessage, field: MapField, making: Making) {
  const { random, wrong } = making;
  const rules = rulesOf(field);
  const own = rules?.type.case === "map" ? rules.type.value : undefined;
  const max = Number(own?.maxPairs ?? 10n);
  const count = random.chance(wrong) ? random.pick([0, max, max + 1]) : random.below(3);
  const pairs = Array.from({ length: count }, (_, i) => {
    const pattern = own?.keys?.type.case === "string" ? own.keys.type.value.pattern : "";
    const sound = pattern.includes("\\.") ? `Job.Create${"a".repeat(i)}` : `k${i}`;
    const key = random.chance(wrong) ? hostileText(random) : sound;
    const value =
      field.mapKind === "message"
        ? makeSingle(field.message, making)
        : makeScalar(schema, field, own?.values, making);
    const bytes = "wire" in value ? value.wire(2) : delimited(2, value.bytes);
    const entry = Buffer.concat([delimited(1, Buffer.from(key)), bytes]);
    return { json: `${JSON.stringify(key)}:${value.json}`, wire: delimited(field.number, entry) };
  });
  return {
    json: `{${pairs.map(({ json }) => json).join(",")}}`,
    wire: Buffer.concat(pairs.map(({ wire }) => wire)),
  };
}

interface Single {
  readonly json: string;
  readonly bytes: Uint8Array;
  readonly inner?: SentMessage;
}

/** A message in a field; Google's own have their own forms in JSON. */
function makeSingle(schema: DescMessage, making: Making): Single {
  const { random, wrong } = making;
  switch (schema.typeName) {
    case DurationSchema.typeName: {
      const sound = ["0s", "0.001s", "0.1s"] as const;
      const odd = [
        "-1s",
        "60s",
        "86401s",
        "315576000000s",
        "-315576000000s",
        "0.000000001s",
      ] as const;
      const text = random.pick(random.chance(wrong) ? odd : sound);
      return {
        json: JSON.stringify(text),
        bytes: toBinary(DurationSchema, fromJson(DurationSchema, text)),
      };
    }
    case TimestampSchema.typeName: {
      const odd = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"] as const;
      const text = random.chance(wrong) ? random.pick(odd) : "2026-01-01T00:00:00Z";
      return {
        json: JSON.stringify(text),
        bytes: toBinary(TimestampSchema, fromJson(TimestampSchema, text)),
      };
    }
    case StructSchema.typeName: {
      const depth = random.chance(wrong) ? random.pick([24, 30, 33, 48, 60, 95]) : 1;
      const json = `${'{"a":'.repeat(depth)}[1,"x",null]${"}".repeat(depth)}`;
      return { json, bytes: structBytes(depth) };
    }
    default: {
      const inner = makeMessage(schema, making);
      return { json: jsonOf(inner), bytes: wireOf(inner), inner };
    }
  }
}

/** A Struct within Structs. */
function structBytes(depth: number): Buffer {
  let struct: Buffer = Buffer.alloc(0);
  for (let i = 0; i < depth; i++) {
    const value = delimited(5, struct);
    struct = delimited(1, Buffer.concat([delimited(1, Buffer.from("a")), delimited(2, value)]));
  }
  return struct;
}

function rulesOf(field: DescField): FieldRules | undefined {
  let rules = known.get(field);
  if (rules === undefined) {
    rules = hasOption(field, fieldOption) ? getOption(field, fieldOption) : null;
    known.set(field, rules);
  }
  return rules ?? undefined;
}

const known = new WeakMap<DescField, FieldRules | null>();
