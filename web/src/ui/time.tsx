/** Owns points in time on screen: short, with the whole of it as a title. */
import { createSignal, type JSX, onCleanup, onMount } from "solid-js";
import { formatAgo } from "./format.ts";

const [now, setNow] = createSignal(Date.now());
let users = 0;
let timer: ReturnType<typeof setInterval> | undefined;

/** The time, as a signal that moves each second while somebody looks. */
export function createNow(): () => number {
  onMount(() => {
    setNow(Date.now());
    if (users++ === 0) timer = setInterval(() => !document.hidden && setNow(Date.now()), 1_000);
  });
  onCleanup(() => {
    if (--users === 0) clearInterval(timer);
  });
  return now;
}

/** How long ago something was. */
export function Ago(props: { readonly time: Date | undefined }): JSX.Element {
  const current = createNow();
  return (
    <time datetime={props.time?.toISOString()} title={props.time?.toLocaleString()}>
      {props.time === undefined ? "–" : formatAgo(props.time.getTime(), current())}
    </time>
  );
}
