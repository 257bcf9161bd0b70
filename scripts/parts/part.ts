/**
 * The one interface of all parts: a part is here, or there is a reason why not.
 * How a single part is had is the business of the module named after it.
 */

/** A real component that is here, with what is needed to use it, or the reason why not. */
export type Found<T> = { ok: true; value: T } | { ok: false; reason: string; remedy: string };

/** Takes one line of progress, without a line end. */
export type Log = (line: string) => void;

/** What every part takes. */
export interface PartOptions {
  /** Progress of steps that take more than a moment. Default: none. */
  log?: Log | undefined;
}

/** A part that is here. */
export function here<T>(value: T): Found<T> {
  return { ok: true, value };
}

/** A part that cannot be had: why, and what a person can do about it. */
export function missing(reason: string, remedy: string): Found<never> {
  return { ok: false, reason, remedy };
}

/** Runs `get`; whatever it throws becomes the reason of a missing part. Never throws. */
export async function attempt<T>(remedy: string, get: () => Promise<T>): Promise<Found<T>> {
  try {
    return here(await get());
  } catch (error: unknown) {
    return missing(messageOf(error), remedy);
  }
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
