/** Owns loading what a screen shows: last data kept, refreshed by time and when the backend is back. */

import type { Devmesh } from "@devmesh/sdk";
import { createEffect, createSignal, on, onCleanup } from "solid-js";
import { useBackend } from "./backend.ts";

/** Something loaded. */
export interface Loaded<T> {
  /** The last that was loaded for the current key. */
  readonly data: () => T | undefined;
  /** Why the last try failed. Undefined after a success, and while the backend is away. */
  readonly error: () => Error | undefined;
  /** True if `data` may be out of date because the last try failed or the backend is away. */
  readonly isStale: () => boolean;
  /** Loads once more. */
  reload(): void;
}

/** How to load. */
export interface LoadOptions<K, T> {
  /** What to load for; a change forgets the data of the key before. */
  readonly key: () => K;
  readonly load: (client: Devmesh, key: K, signal: AbortSignal) => Promise<T>;
  /** Milliseconds until the next load while the page is seen. Default: only once. */
  readonly everyMs?: (data: T | undefined) => number | undefined;
}

/** Loads now, and again as the options say, until the screen is left. */
export function createLoad<K, T>(options: LoadOptions<K, T>): Loaded<T> {
  const backend = useBackend();
  const [data, setData] = createSignal<T>();
  const [error, setError] = createSignal<Error>();
  let running: AbortController | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const run = async (key: K): Promise<void> => {
    running?.abort();
    clearTimeout(timer);
    const own = new AbortController();
    running = own;
    try {
      const next = await backend.call((client) => options.load(client, key, own.signal));
      if (own.signal.aborted) return;
      setData(() => next);
      setError(undefined);
    } catch (failure: unknown) {
      if (own.signal.aborted) return;
      setError(failure instanceof Error ? failure : new Error(String(failure)));
    }
    const everyMs = options.everyMs?.(data());
    if (everyMs !== undefined) timer = setTimeout(() => again(key), everyMs);
  };
  // A page that nobody sees loads nothing; it does so when it is seen again.
  const again = (key: K) => {
    if (document.hidden || backend.reach().state !== "here") return;
    void run(key);
  };
  const whenSeen = () => !document.hidden && options.everyMs !== undefined && again(options.key());
  document.addEventListener("visibilitychange", whenSeen);

  createEffect(
    on(options.key, (key) => {
      setData(undefined);
      setError(undefined);
      void run(key);
    }),
  );
  createEffect(on(backend.comebacks, () => void run(options.key()), { defer: true }));
  onCleanup(() => {
    running?.abort();
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", whenSeen);
  });

  return {
    data,
    // That the backend is away says the banner, once for all screens.
    error: () => (backend.reach().state === "here" ? error() : undefined),
    isStale: () =>
      data() !== undefined && (error() !== undefined || backend.reach().state !== "here"),
    reload: () => void run(options.key()),
  };
}
