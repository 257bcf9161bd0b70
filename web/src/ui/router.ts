/** Owns the address bar: the current place as signals, navigation without a reload. */
import { createSignal } from "solid-js";

/** Where the console is. */
export interface Place {
  readonly path: string;
  readonly query: URLSearchParams;
  /** Without its `#`. */
  readonly hash: string;
}

function here(): Place {
  const { pathname, search, hash } = location;
  const path = pathname.length > 1 ? pathname.replace(/\/+$/, "") : pathname;
  return { path: path || "/", query: new URLSearchParams(search), hash: hash.slice(1) };
}

const [current, setCurrent] = createSignal<Place>(here(), { equals: false });

/** The current place; a signal. */
export const place = current;

/** Goes to an address of the console. `replace` leaves no step to come back to. */
export function navigate(to: string, options: { readonly replace?: boolean } = {}): void {
  if (options.replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  setCurrent(here());
  if (!options.replace) window.scrollTo(0, 0);
}

/** The current path with some query parameters changed; empty values leave the address. */
export function withQuery(changes: Readonly<Record<string, string>>): string {
  const { path, query } = current();
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "") next.delete(name);
    else next.set(name, value);
  }
  const search = next.toString();
  return search === "" ? path : `${path}?${search}`;
}

/** Follows links and the browser's buttons; answers what ends that. */
export function startRouter(): () => void {
  const events = new AbortController();
  const options = { signal: events.signal };
  addEventListener("popstate", () => setCurrent(here()), options);
  addEventListener("hashchange", () => setCurrent(here()), options);
  document.addEventListener("click", (event) => follow(event), options);
  return () => events.abort();
}

function follow(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (link === null || link.target !== "" || link.hasAttribute("download")) return;
  const href = link.getAttribute("href") ?? "";
  if (!href.startsWith("/")) return;
  event.preventDefault();
  navigate(href);
}
