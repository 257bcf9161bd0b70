/**
 * Owns the arithmetic of a windowed list of equally high rows: which rows are
 * seen, and where they stand. Beyond what a browser can scroll, positions scale.
 */

/** What is scrolled. Lengths are CSS pixels. */
export interface Viewport {
  readonly scrollTop: number;
  readonly heightPx: number;
  readonly rowPx: number;
  readonly rows: number;
}

/** Which rows to show, and where. */
export interface Window {
  /** The first row to show. */
  readonly first: number;
  /** The row behind the last to show. */
  readonly end: number;
  /** Where the first shown row stands in the spacer. */
  readonly offsetPx: number;
}

/** The highest element that all browsers lay out exactly. */
export const maxSpacerPx = 15_000_000;

/** Rows shown above and below what is seen, so that quick scrolling finds something. */
export const overscanRows = 12;

/** The height of the element that gives the scroll bar its length. */
export function spacerPx(rows: number, rowPx: number): number {
  return Math.min(rows * rowPx, maxSpacerPx);
}

/** The distance of what is seen from the first row's top, unscaled. */
function topPx(view: Viewport): number {
  const full = view.rows * view.rowPx;
  const spacer = spacerPx(view.rows, view.rowPx);
  const most = Math.max(0, spacer - view.heightPx);
  const scrollTop = Math.min(Math.max(0, view.scrollTop), most);
  return full === spacer ? scrollTop : (scrollTop / most) * (full - view.heightPx);
}

/** The rows that are seen, with `overscanRows` more on both sides. */
export function windowOf(view: Viewport): Window {
  const top = topPx(view);
  const seen = Math.floor(top / view.rowPx);
  const first = Math.max(0, Math.min(seen, view.rows) - overscanRows);
  const last = Math.ceil((top + view.heightPx) / view.rowPx);
  const end = Math.min(view.rows, last + overscanRows);
  const spacer = spacerPx(view.rows, view.rowPx);
  const most = Math.max(0, spacer - view.heightPx);
  const scrollTop = Math.min(Math.max(0, view.scrollTop), most);
  return { first, end, offsetPx: scrollTop - (top - first * view.rowPx) };
}

/** The scroll position that shows a row: at the top, or, if it is not seen, in the middle or near. */
export function scrollTopFor(
  row: number,
  view: Viewport,
  place: "start" | "center" | "nearest",
): number {
  const top = row * view.rowPx;
  const now = topPx(view);
  const free = view.heightPx - view.rowPx;
  let wanted = place === "center" ? top - free / 2 : top;
  if (place !== "start" && top >= now && top <= now + free) return view.scrollTop;
  if (place === "nearest") wanted = top < now ? top : top - free;
  const full = view.rows * view.rowPx;
  const spacer = spacerPx(view.rows, view.rowPx);
  wanted = Math.max(0, Math.min(wanted, full - view.heightPx));
  if (full === spacer) return wanted;
  return (wanted / (full - view.heightPx)) * (spacer - view.heightPx);
}
