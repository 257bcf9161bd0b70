/** Bounded waits of the wire tests: each ends with what it waited for, or says what never came. */
import { until as untilTrue, within as withinLimit } from "../e2e/wait.ts";

const limitMs = 15_000;

/** The promise's value; throws if it takes too long, naming what was waited for. */
export function within<T>(promise: Promise<T>, what: string): Promise<T> {
  return withinLimit(what, promise, limitMs);
}

/** Waits until the condition holds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  await untilTrue(what, condition, limitMs);
}

/** Waits until a growing number stays as it is for `still` looks in a row. */
export async function settled(count: () => number, what: string, still = 8): Promise<number> {
  let last = count();
  let quiet = 0;
  await until(() => {
    quiet = count() === last ? quiet + 1 : 0;
    last = count();
    return quiet >= still;
  }, what);
  return last;
}

/** Things that happen at some time in another part of the program. */
export class Marks {
  readonly #marks = new Map<string, PromiseWithResolvers<unknown>>();

  /** Notes that it happened, with a value; the first time counts. */
  set(name: string, value?: unknown): void {
    this.#at(name).resolve(value);
  }

  /** The value, as soon as it has happened. */
  when(name: string): Promise<unknown> {
    return within(this.#at(name).promise, name);
  }

  #at(name: string): PromiseWithResolvers<unknown> {
    const found = this.#marks.get(name) ?? Promise.withResolvers<unknown>();
    this.#marks.set(name, found);
    return found;
  }
}

/** Everything that a stream gives. */
export async function gather<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
