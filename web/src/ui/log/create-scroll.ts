/** Owns where a log is scrolled to: following the tail, keeping the place, going to a line. */
import { createEffect, createMemo, createSignal, on, onCleanup } from "solid-js";
import type { LineStore } from "./line-store.ts";
import { scrollTopFor, spacerPx, type Viewport, type Window, windowOf } from "./window.ts";
import { RowLayout } from "./wrap.ts";

/** The height of a row in CSS pixels; the style sheet says the same. */
export const rowPx = 20;

/** Scrolling as the viewer uses it. */
export interface Scroll {
  /** Cells of a row when lines wrap, else undefined. */
  readonly columns: () => number | undefined;
  readonly layout: () => RowLayout;
  readonly window: () => Window;
  readonly spacerPx: () => number;
  readonly isFollowing: () => boolean;
  /** Lines that came since the tail was left. */
  readonly newLines: () => number;
  /** The first line that is wholly seen. */
  readonly topLine: () => number;
  /** Cells that fit into the scroller's width. */
  readonly cells: () => number;
  /** Takes the element that scrolls, and one whose width is a hundred cells. */
  attach(scroller: HTMLElement, ruler: HTMLElement): void;
  follow(): void;
  /** Shows a line, if it is there; stops following. */
  goTo(line: number, place: "center" | "nearest"): void;
}

/** Makes the scrolling. `columns` are the cells of a row when lines wrap, else undefined. */
export function createScroll(deps: {
  readonly store: LineStore;
  readonly version: () => number;
  readonly columns: (cells: number) => number | undefined;
}): Scroll {
  const { store, version } = deps;
  const [seen, setSeen] = createSignal(
    { scrollTop: 0, heightPx: 0 },
    { equals: (a, b) => a.scrollTop === b.scrollTop && a.heightPx === b.heightPx },
  );
  const heightPx = createMemo(() => seen().heightPx);
  const [cells, setCells] = createSignal(100);
  const [isFollowing, setFollowing] = createSignal(true);
  const [leftAt, setLeftAt] = createSignal(0);
  let scroller: HTMLElement | undefined;
  let anchor = 0;

  const columns = createMemo(() => deps.columns(cells()));
  const layout = createMemo(() => new RowLayout(store, columns()));
  const rows = createMemo(() => {
    version();
    layout().sync();
    return layout().rows;
  });
  const viewport = (): Viewport => ({ ...seen(), rowPx, rows: rows() });
  const topLine = () => layout().lineAt(topRow(viewport()));

  const moveTo = (scrollTop: number) => {
    if (scroller === undefined) return;
    scroller.scrollTop = scrollTop;
    setSeen({ scrollTop: scroller.scrollTop, heightPx: scroller.clientHeight });
  };
  const toEnd = () => scroller !== undefined && moveTo(scroller.scrollHeight);

  const onScroll = () => {
    if (scroller === undefined) return;
    const { scrollTop, clientHeight, scrollHeight } = scroller;
    const isAtEnd = scrollTop + clientHeight >= scrollHeight - rowPx;
    // Only moving up leaves the tail: a growing log moves the end away by itself.
    if (isAtEnd) setFollowing(true);
    else if (scrollTop < seen().scrollTop) leave();
    setSeen({ scrollTop, heightPx: clientHeight });
    anchor = topLine();
  };
  const leave = () => {
    if (!isFollowing()) return;
    setLeftAt(store.length);
    setFollowing(false);
  };

  createEffect(on([rows, heightPx], () => isFollowing() && toEnd()));
  createEffect(
    on(
      layout,
      () => !isFollowing() && moveTo(scrollTopFor(layout().rowOf(anchor), viewport(), "start")),
      { defer: true },
    ),
  );

  return {
    columns,
    layout,
    window: createMemo(() => windowOf(viewport())),
    spacerPx: () => spacerPx(rows(), rowPx),
    isFollowing,
    newLines: () => {
      version();
      return isFollowing() ? 0 : store.length - leftAt();
    },
    topLine,
    cells,
    attach: (element, ruler) => {
      scroller = element;
      element.addEventListener("scroll", onScroll, { passive: true });
      const observer = new ResizeObserver(() => {
        const cellPx = ruler.getBoundingClientRect().width / 100;
        if (cellPx > 0) setCells(Math.max(20, Math.floor(element.clientWidth / cellPx)));
        setSeen({ scrollTop: element.scrollTop, heightPx: element.clientHeight });
      });
      observer.observe(element);
      onCleanup(() => observer.disconnect());
    },
    follow: () => {
      setFollowing(true);
      toEnd();
    },
    goTo: (line, place) => {
      if (line < 0 || line >= store.length) return;
      leave();
      anchor = line;
      moveTo(scrollTopFor(layout().rowOf(line), viewport(), place));
    },
  };
}

function topRow(view: Viewport): number {
  const { first, offsetPx } = windowOf(view);
  return Math.min(
    Math.max(0, view.rows - 1),
    first + Math.max(0, Math.ceil((view.scrollTop - offsetPx) / view.rowPx)),
  );
}
