/** Owns the state of a search in a log: query, count, which match is the current one. */
import { createEffect, createMemo, createSignal, on, onCleanup } from "solid-js";
import { createMatcher, Finder, type Hit, type Matcher, type Query } from "./find.ts";
import type { LineStore } from "./line-store.ts";

/** How long a scan may take between two frames, and how many lines between two looks at the time. */
const sliceMs = 10;
const sliceLines = 2_000;

/** A search as the viewer uses it. */
export interface Find {
  readonly isOpen: () => boolean;
  readonly query: () => Query;
  /** Matches nothing while the search is closed or the query is no query. */
  readonly matcher: () => Matcher;
  /** Why the query is none. Empty if it is one. */
  readonly problem: () => string;
  /** Matches in all lines scanned so far; all of them once `isScanning` is false. */
  readonly count: () => number;
  readonly isScanning: () => boolean;
  /** The current match, from 0; -1 before there is one. */
  readonly index: () => number;
  readonly hit: () => Hit | undefined;
  open(): void;
  close(): void;
  setQuery(query: Query): void;
  /** Goes to the next match, or back; around the ends. */
  go(step: 1 | -1): void;
}

const nothing: Matcher = () => [];

/** Makes the search. `topLine` is where the first match is looked for. */
export function createFind(deps: {
  readonly store: LineStore;
  readonly version: () => number;
  readonly topLine: () => number;
}): Find {
  const { store, version, topLine } = deps;
  const [isOpen, setOpen] = createSignal(false);
  const [query, setQuery] = createSignal<Query>({ text: "" });
  const [count, setCount] = createSignal(0);
  const [isScanning, setScanning] = createSignal(false);
  const [index, setIndex] = createSignal(-1);
  const made = createMemo(() => createMatcher(query()));
  const matcher = createMemo(() => {
    const now = made();
    return isOpen() && typeof now === "function" ? now : nothing;
  });
  const problem = () => {
    const now = made();
    return typeof now === "function" ? "" : now.error;
  };

  let finder = new Finder(store, nothing);
  let frame: number | undefined;
  const scan = () => {
    frame = undefined;
    const until = performance.now() + sliceMs;
    let hasMore = finder.step(sliceLines);
    while (hasMore && performance.now() < until) hasMore = finder.step(sliceLines);
    setCount(finder.count);
    setScanning(hasMore);
    if (hasMore) frame = requestAnimationFrame(scan);
    else if (index() < 0 && finder.count > 0) setIndex(finder.indexFrom(topLine()));
  };
  createEffect(
    on(matcher, (next) => {
      finder = new Finder(store, next);
      setIndex(-1);
      setScanning(true);
      if (frame === undefined) scan();
    }),
  );
  createEffect(on(version, () => frame === undefined && isOpen() && scan(), { defer: true }));
  onCleanup(() => frame !== undefined && cancelAnimationFrame(frame));

  return {
    isOpen,
    query,
    matcher,
    problem,
    count,
    isScanning,
    index,
    hit: createMemo(() => {
      count();
      return finder.hit(index());
    }),
    open: () => setOpen(true),
    close: () => setOpen(false),
    setQuery,
    go: (step) => {
      if (count() > 0) setIndex((now) => (now + step + count()) % count());
    },
  };
}
