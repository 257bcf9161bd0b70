/** Owns walking over paged lists. */
import { fromConnect } from "./errors.ts";

/** One page of a list. */
export interface Page<T> {
  /** Its items. */
  readonly items: readonly T[];
  /** Asks for the next page; empty on the last. */
  readonly nextPageToken: string;
}

/**
 * A list that is fetched as it is walked over: `for await (const job of
 * devmesh.jobs.list())`. Nothing is called before the first step.
 */
export class Pager<T> implements AsyncIterable<T> {
  readonly #fetch: (pageToken: string) => Promise<Page<T>>;

  /** `fetch` answers the page that a token names; the empty one is the first. */
  constructor(fetch: (pageToken: string) => Promise<Page<T>>) {
    this.#fetch = fetch;
  }

  /** One page, the first where no token is given. */
  async page(pageToken = ""): Promise<Page<T>> {
    try {
      return await this.#fetch(pageToken);
    } catch (error) {
      throw fromConnect(error);
    }
  }

  /** All pages in order. */
  async *pages(): AsyncGenerator<Page<T>, void, undefined> {
    let token = "";
    do {
      const page = await this.page(token);
      yield page;
      token = page.nextPageToken;
    } while (token !== "");
  }

  /** All items, or the first `limit`. */
  async toArray(limit = Number.POSITIVE_INFINITY): Promise<T[]> {
    const items: T[] = [];
    if (limit <= 0) return items;
    for await (const item of this) {
      items.push(item);
      if (items.length >= limit) break;
    }
    return items;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for await (const page of this.pages()) yield* page.items;
  }
}
