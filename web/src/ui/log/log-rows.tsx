/** Owns drawing the rows of a log that are in the document. */
import { For, type JSX, Show } from "solid-js";
import { formatClock } from "../format.ts";
import { lookOf } from "./ansi-look.ts";
import type { Hit } from "./find.ts";
import type { LineStore } from "./line-store.ts";
import type { Segment } from "./segments.ts";
import type { VisibleRow } from "./visible-rows.ts";

/** Rows with their numbers and times. */
export function LogRows(props: {
  readonly store: LineStore;
  readonly rows: readonly VisibleRow[];
  readonly hit: Hit | undefined;
  readonly selectedLine: number | undefined;
  readonly onSelect: (line: number) => void;
}): JSX.Element {
  const select = (event: MouseEvent, line: number) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    props.onSelect(line);
  };
  const currentMatch = (line: number) => (props.hit?.row === line ? props.hit.ordinal : undefined);
  return (
    <For each={props.rows}>
      {(row) => (
        <div
          class={`log-row from-${props.store.source(row.line)}`}
          classList={{ selected: props.selectedLine === row.line }}
        >
          <Show when={row.part === 0} fallback={<span class="log-number" />}>
            {/* Not a tab stop, or the way past a log would be long: "Go to line" does the same. */}
            {/* biome-ignore lint/a11y/useAnchorContent: the label names it; the style sheet draws it */}
            <a
              class="log-number"
              href={`#L${row.line + 1}`}
              tabindex="-1"
              aria-label={`Line ${row.line + 1}`}
              data-number={row.line + 1}
              data-time={formatClock(props.store.timeMs(row.line))}
              onClick={(event) => select(event, row.line)}
            />
          </Show>
          <span class="log-text">
            <For each={row.segments}>
              {(segment) => <LogSegment segment={segment} current={() => currentMatch(row.line)} />}
            </For>
            {"\n"}
          </span>
        </div>
      )}
    </For>
  );
}

function LogSegment(props: {
  readonly segment: Segment;
  readonly current: () => number | undefined;
}): JSX.Element {
  const { text, style, match } = props.segment;
  const look = lookOf(style);
  if (match !== undefined) {
    return (
      <mark class={look.class} classList={{ current: props.current() === match }}>
        {text}
      </mark>
    );
  }
  if (look.class === "" && Object.keys(look.style).length === 0) return text;
  return (
    <span class={look.class} style={look.style}>
      {text}
    </span>
  );
}
