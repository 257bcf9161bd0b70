/** Owns the console's icons: 16 by 16, drawn in the colour of the text. */
import { For, type JSX } from "solid-js";

const paths = {
  clock: ["M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11Z", "M8 5v3.2l2 1.3"],
  play: ["M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11Z", "M6.8 5.8 10.2 8l-3.4 2.2Z"],
  check: ["M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11Z", "m5.6 8.2 1.7 1.7 3.2-3.6"],
  cross: ["M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11Z", "m6 6 4 4m0-4-4 4"],
  stop: ["M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11Z", "m4.2 4.2 7.6 7.6"],
  question: [
    "M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11Z",
    "M8 11v.1M6.5 6.4a1.5 1.5 0 1 1 1.5 1.8v1",
  ],
  target: [
    "M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11Z",
    "M8 5.5a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5Z",
  ],
  plus: ["M8 3.5v9M3.5 8h9"],
  download: ["M8 2.5v7.2m-3-2.9 3 3 3-3M3 13h10"],
  copy: ["M6 5.5h6.5v7H6Z", "M10 5.5v-2H3.5v7H6"],
  retry: ["M12.5 8a4.5 4.5 0 1 1-1.4-3.3l1.4 1.4m0-3v3h-3"],
  search: ["M7 3a4 4 0 1 1 0 8 4 4 0 0 1 0-8Z", "m10 10 3 3"],
  up: ["m4 10 4-4 4 4"],
  down: ["m4 6 4 4 4-4"],
  close: ["m4 4 8 8m0-8-8 8"],
  warning: ["M8 2.8 14 13H2Z", "M8 6.8v2.7M8 11.2v.1"],
  logout: ["M9.5 3H3.5v10h6M7 8h6.5m-2.3-2.3L13.5 8l-2.3 2.3"],
} as const;

/** An icon's name. */
export type IconName = keyof typeof paths;

/** An icon. It says nothing to screen readers: a word stands beside it, or a label. */
export function Icon(props: { readonly name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <For each={paths[props.name]}>{(d) => <path d={d} />}</For>
    </svg>
  );
}
