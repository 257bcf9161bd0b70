/** Compares a log with what it must be, and says how many bytes are missing, double or foreign. */

/** The difference of a log from what it must be, in bytes. All zero: they are equal. */
export interface ByteDifference {
  readonly lost: number;
  readonly doubled: number;
  /** Bytes that belong nowhere. */
  readonly altered: number;
}

/** Long enough to hold a record's number, so that it is found at one place only. */
const windowBytes = 64;

/**
 * Follows `actual` through `expected`. Where it leaves it, the next bytes are
 * looked up: further on means that what is between is lost, further back that
 * it came again. With `prefix` the end may be missing.
 */
export function compareBytes(
  expected: Buffer,
  actual: Buffer,
  { prefix = false }: { readonly prefix?: boolean } = {},
): ByteDifference {
  const found = { lost: 0, doubled: 0, altered: 0 };
  if (expected.equals(actual)) return found;
  let at = 0;
  for (let i = 0; i < actual.length; ) {
    const same = commonLength(expected, at, actual, i);
    at += same;
    i += same;
    if (i === actual.length) break;
    const place = findNear(expected, actual.subarray(i, i + windowBytes), at);
    if (place === undefined) {
      found.altered += 1;
      i += 1;
      continue;
    }
    if (place > at) found.lost += place - at;
    else found.doubled += at - place;
    at = place;
  }
  if (!prefix) found.lost += expected.length - at;
  return found;
}

function commonLength(a: Buffer, aFrom: number, b: Buffer, bFrom: number): number {
  const most = Math.min(a.length - aFrom, b.length - bFrom);
  let length = 0;
  // Whole blocks first: a long log is equal nearly everywhere.
  const block = 4096;
  while (length + block <= most) {
    const end = length + block;
    if (a.compare(b, bFrom + length, bFrom + end, aFrom + length, aFrom + end) !== 0) break;
    length = end;
  }
  while (length < most && a[aFrom + length] === b[bFrom + length]) length += 1;
  return length;
}

/** Where the window lies in `text`, the place next to `at`; undefined if nowhere. */
function findNear(text: Buffer, window: Buffer, at: number): number | undefined {
  // The last bytes may be too few to be told from others, and belong to the end.
  const end = text.length - window.length;
  if (window.length < windowBytes && end >= 0 && text.subarray(end).equals(window)) return end;
  const after = text.indexOf(window, at);
  const before = at === 0 ? -1 : text.lastIndexOf(window, at - 1);
  if (after < 0 && before < 0) return undefined;
  if (after < 0) return before;
  if (before < 0) return after;
  return after - at <= at - before ? after : before;
}
