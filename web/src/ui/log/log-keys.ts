/** Owns the keys of the log viewer. */
import { onCleanup } from "solid-js";
import type { Find } from "./create-find.ts";

/** Ctrl+F opens the viewer's search: the browser's own would see only the rows on screen. */
export function createFindKey(find: Find, field: () => HTMLInputElement | undefined): void {
  const onKey = (event: KeyboardEvent) => {
    const isFind = event.key.toLowerCase() === "f" && (event.ctrlKey || event.metaKey);
    if (!isFind || event.altKey || event.shiftKey) return;
    // A second press reaches the browser's own search.
    if (find.isOpen() && document.activeElement === field()) return;
    event.preventDefault();
    find.open();
    field()?.focus();
    field()?.select();
  };
  document.addEventListener("keydown", onKey);
  onCleanup(() => document.removeEventListener("keydown", onKey));
}

/** Keys while the log has the focus: `/`, `n`, `N`, Escape. Arrows and pages scroll by themselves. */
export function takeLogKey(event: KeyboardEvent, find: Find, close: () => void): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "n") find.go(1);
  else if (event.key === "N") find.go(-1);
  else if (event.key === "/") find.open();
  else if (event.key === "Escape" && find.isOpen()) close();
  else return;
  event.preventDefault();
}
