/** Owns how labels of runners are written: `KEY=VALUE`, as the contract takes them. */
import { UsageError } from "./usage-error.ts";

/** A label as the contract takes it: key, `=`, value. */
export const labelPattern =
  /^([A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?)=((?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?)$/;

/** How many labels a runner may have. */
export const maxLabels = 16;

/** Labels of an option's words. Throws `UsageError`. */
export function readLabels(option: string, words: readonly string[]): Record<string, string> {
  const pairs = words.map((word) => {
    const [, key, value] = labelPattern.exec(word.trim()) ?? [];
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
  if (pairs.length > maxLabels) throw new UsageError(`${option}: more than ${maxLabels} labels`);
  return labels;
}
