/** Owns how labels of runners are written: `KEY=VALUE`, as the contract takes them. */
import { UsageError } from "./usage-error.ts";

const pattern =
  /^([A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?)=((?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?)$/;

const most = 16;

/** Labels of an option's words. Throws `UsageError`. */
export function readLabels(option: string, words: readonly string[]): Record<string, string> {
  const pairs = words.map((word) => {
    const [, key, value] = pattern.exec(word.trim()) ?? [];
    if (key !== undefined && value !== undefined) return [key, value] as const;
    throw new UsageError(
      `${option}: ${JSON.stringify(word)} is not KEY=VALUE`,
      'letters, digits, "-", "_" and "." (and "/" in the key), up to 63 of them, for example zone=eu',
    );
  });
  const labels = Object.fromEntries(pairs);
  if (Object.keys(labels).length < pairs.length) {
    throw new UsageError(`${option}: a label is there twice`);
  }
  if (pairs.length > most) throw new UsageError(`${option}: more than ${most} labels`);
  return labels;
}
