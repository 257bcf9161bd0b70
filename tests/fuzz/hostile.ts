/** Values that break programs: texts, numbers as JSON, and fields as bytes. */
import type { Random } from "./random.ts";
import { delimited, doubleField, tag, varint, varintField, wireType } from "./wire.ts";

const texts = [
  "",
  " ",
  "\u0000",
  "a\u0000b",
  "\u202Etxt.exe",
  "\uFEFF",
  "\u{1F600}",
  "e\u0301\u0301\u0301",
  "\u2028\u2029",
  "\uFFFF\uFFFE",
  "../../../../etc/passwd",
  "'; DROP TABLE jobs; --",
  "%00%ff%c0%80",
  "%s%n%x",
  "{{7*7}}",
  "<script>alert(1)</script>",
  "\r\nSet-Cookie: x=1",
  "__proto__",
  "constructor",
  "hasOwnProperty",
  "toString",
  "null",
  "undefined",
  "NaN",
  "-0",
  "1e309",
  "file:///etc/passwd",
  "*",
  "\u001b[2J",
  "\\",
  '"',
] as const;

const lengths = [63, 64, 65, 128, 129, 255, 256, 257, 513, 1025, 4097] as const;

/** A text. Now and then a long one. */
export function hostileText(random: Random): string {
  if (random.chance(0.25)) return random.pick(["a", "é", "\u{1F600}"]).repeat(random.pick(lengths));
  if (random.chance(0.01)) return "x".repeat(140_000);
  return random.pick(texts);
}

const jsons = [
  "null",
  "true",
  "[]",
  "{}",
  "[[]]",
  "[null]",
  '""',
  '"x"',
  "0",
  "-0",
  "-1",
  "1.5",
  "1e400",
  "-1e400",
  "1e-400",
  "2147483648",
  "4294967295",
  "4294967296",
  "9007199254740993",
  "18446744073709551616",
  '"-1"',
  '" 1"',
  '"1e2"',
  '"0x10"',
  '"NaN"',
  '"Infinity"',
  '"-Infinity"',
  "NaN",
  "Infinity",
  "+1",
  "01",
  "'x'",
  '"\\ud800"',
  '"a\\udc00b"',
  '"\\u0000"',
  '"\\x41"',
  '"\u0001"',
  '{"__proto__":{"x":1}}',
  '{"a":1,"a":2}',
  '{"@type":"type.googleapis.com/x"}',
  '"JOB_STATUS_MOON"',
  '"-1s"',
  '"1e9s"',
  '"99999999999999999s"',
  '"0.0000000001s"',
  '"s"',
  '"9999-99-99T99:99:99Z"',
] as const;

/** A JSON value, or what is none, that suits hardly any field. */
export function hostileJson(random: Random): string {
  if (random.chance(0.05)) return nested(random.pick([50, 99, 101, 1000, 20_000]), random);
  if (random.chance(0.3)) return JSON.stringify(hostileText(random));
  return random.pick(jsons);
}

function nested(depth: number, random: Random): string {
  return random.chance(0.5)
    ? "[".repeat(depth) + "]".repeat(depth)
    : `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;
}

const badUtf8 = [
  [0xff],
  [0xc0, 0x80],
  [0xe0, 0x80, 0x80],
  [0xed, 0xa0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0x80],
  [0x61, 0xc3],
] as const;

/** Bytes that are no UTF-8. */
export function invalidUtf8(random: Random): Buffer {
  return Buffer.from(random.pick(badUtf8));
}

/** A field of this number as bytes: of any wire type, whole or broken. */
export function hostileField(number: number, random: Random): Buffer {
  const huge = random.pick([2n ** 31n, 2n ** 32n - 1n, 2n ** 63n, 2n ** 64n - 1n, -1n]);
  const kinds: readonly (() => Buffer)[] = [
    () => varintField(number, huge),
    () => Buffer.concat([tag(number, wireType.varint), Buffer.alloc(11, 0xff)]),
    () => doubleField(number, random.pick([Number.NaN, Infinity, -Infinity, -0, 1e308, -1])),
    () => Buffer.concat([tag(number, wireType.fixed32), random.bytes(4)]),
    () => delimited(number, invalidUtf8(random)),
    () => delimited(number, Buffer.from(hostileText(random))),
    () => delimited(number, random.bytes(random.below(40))),
    () => delimited(number, Buffer.alloc(0)),
    () => Buffer.concat([tag(number, wireType.bytes), varint(2 ** 31), random.bytes(3)]),
    () => Buffer.concat([tag(number, wireType.bytes), varint(2n ** 63n)]),
    () => Buffer.concat([tag(number, wireType.start), tag(number, wireType.end)]),
    () => Buffer.concat(Array.from({ length: 500 }, () => tag(number, wireType.start))),
    () => tag(number, wireType.end),
    () => tag(number, 7),
    () => tag(0, wireType.varint),
    () => nestedField(number, random.pick([50, 99, 101, 2000])),
  ];
  return random.pick(kinds)();
}

/** The field in itself, again and again, through field 1 of what is below. */
function nestedField(number: number, depth: number): Buffer {
  let bytes: Buffer = Buffer.alloc(0);
  for (let i = 0; i < depth; i++) bytes = delimited(1, bytes);
  return delimited(number, bytes);
}
