/**
 * Owns the log viewer: toolbar, search, the windowed rows, the pill that leads
 * back to the tail, and what screen readers hear. It knows no product noun.
 */
import {
  createEffect,
  createMemo,
  createSignal,
  type JSX,
  on,
  onCleanup,
  onMount,
  Show,
} from "solid-js";
import { Announcer } from "../announcer.ts";
import { realClock } from "../clock.ts";
import { CopyButton } from "../copy-button.tsx";
import { formatCount } from "../format.ts";
import { Icon } from "../icon.tsx";
import { stripAnsi } from "./ansi.ts";
import { createFind } from "./create-find.ts";
import { createScroll } from "./create-scroll.ts";
import { FindBar } from "./find-bar.tsx";
import type { LineStore } from "./line-store.ts";
import { createFindKey, takeLogKey } from "./log-keys.ts";
import { LogRows } from "./log-rows.tsx";
import { LineField, ToolToggle } from "./log-tools.tsx";
import { RowPainter } from "./visible-rows.ts";

/** What a viewer shows. */
export interface LogViewProps {
  readonly store: LineStore;
  /** Rises when the store changed; a signal. */
  readonly version: () => number;
  readonly label: string;
  /** What stands where no line is. */
  readonly empty: string;
  /** The selected line, from 0. */
  readonly selectedLine: () => number | undefined;
  readonly onSelect: (line: number) => void;
  /** Left in the toolbar: how the connection does. */
  readonly status: JSX.Element;
  /** Right in the toolbar. */
  readonly tools?: JSX.Element;
}

/** Cells left and right of the text, besides the number and the time. */
const paddingCells = 4;
const timeCells = 14;

/** The log viewer. */
export function LogView(props: LogViewProps): JSX.Element {
  const [isWrapped, setWrapped] = createSignal(localStorage.getItem("devmesh.wrap") === "1");
  const [hasTimes, setTimes] = createSignal(localStorage.getItem("devmesh.times") === "1");
  const [said, setSaid] = createSignal("");
  createEffect(() => localStorage.setItem("devmesh.wrap", isWrapped() ? "1" : "0"));
  createEffect(() => localStorage.setItem("devmesh.times", hasTimes() ? "1" : "0"));
  let scroller: HTMLDivElement | undefined;
  let ruler: HTMLElement | undefined;
  let findInput: HTMLInputElement | undefined;

  const { store, version } = props;
  const lines = createMemo(() => {
    version();
    return store.length;
  });
  const digits = () => Math.max(4, String(lines()).length);
  const gutterCells = () => digits() + paddingCells + (hasTimes() ? timeCells : 0);
  const columnsOf = (cells: number) =>
    isWrapped() ? Math.max(10, cells - gutterCells()) : undefined;
  const scroll = createScroll({ store, version, columns: columnsOf });
  const find = createFind({ store, version, topLine: scroll.topLine });
  const painter = new RowPainter(store);
  const rows = createMemo(() => {
    version();
    return painter.paint(scroll.layout(), scroll.window(), find.matcher(), scroll.columns());
  });

  onMount(() => {
    if (scroller !== undefined && ruler !== undefined) scroll.attach(scroller, ruler);
  });
  createEffect(on(find.hit, (hit) => hit !== undefined && scroll.goTo(hit.row, "nearest")));

  // A line named in the address may come later than the page.
  let gone: number | undefined;
  createEffect(
    on([props.selectedLine, version], ([line]) => {
      if (line === undefined || line === gone || line >= store.length) return;
      gone = line;
      scroll.goTo(line, "center");
    }),
  );

  const announcer = new Announcer({ clock: realClock, say: setSaid });
  let told = store.length;
  createEffect(
    on(version, () => {
      announcer.add(store.length - told);
      told = store.length;
    }),
  );
  onCleanup(() => announcer.stop());

  createFindKey(find, () => findInput);
  const onLogKey = (event: KeyboardEvent) => takeLogKey(event, find, closeFind);
  const goToLine = (line: number) => {
    scroll.goTo(line, "center");
    props.onSelect(line);
    scroller?.focus();
  };
  const closeFind = () => {
    find.close();
    scroller?.focus();
  };

  return (
    <section class="log" classList={{ "with-times": hasTimes(), wrapped: isWrapped() }}>
      <div class="log-tools">
        {props.status}
        <span class="log-count">
          {formatCount(lines())} {lines() === 1 ? "line" : "lines"}
        </span>
        <div class="actions">
          <LineField count={lines} onGo={goToLine} />
          <ToolToggle
            label="Find"
            isOn={find.isOpen()}
            onToggle={(on) => (on ? find.open() : closeFind())}
          />
          <ToolToggle label="Wrap" isOn={isWrapped()} onToggle={setWrapped} />
          <ToolToggle label="Times" isOn={hasTimes()} onToggle={setTimes} />
          <CopyButton isBare label="Copy the whole log" text={() => store.join(stripAnsi)} />
          {props.tools}
        </div>
      </div>
      <Show when={find.isOpen()}>
        <FindBar
          find={find}
          onClose={closeFind}
          ref={(input) => {
            findInput = input;
          }}
        />
      </Show>
      <div class="log-frame" style={{ "--digits": String(digits()) }}>
        {/* Scrolling must not be read aloud: news are told in the region below. */}
        <div
          ref={scroller}
          class="log-scroll"
          role="log"
          aria-live="off"
          aria-label={props.label}
          tabindex="0"
          onKeyDown={onLogKey}
        >
          <span ref={ruler} class="log-ruler" />
          <Show when={lines() === 0}>
            <p class="log-empty">{props.empty}</p>
          </Show>
          <div class="log-spacer" style={{ height: `${scroll.spacerPx()}px` }}>
            <div
              class="log-rows"
              style={{ transform: `translateY(${scroll.window().offsetPx}px)` }}
            >
              <LogRows
                store={store}
                rows={rows()}
                hit={find.hit()}
                selectedLine={props.selectedLine()}
                onSelect={props.onSelect}
              />
            </div>
          </div>
        </div>
        <Show when={!scroll.isFollowing()}>
          <button type="button" class="pill" onClick={() => scroll.follow()}>
            <Icon name="down" />
            {pillWords(scroll.newLines())}
          </button>
        </Show>
      </div>
      <div class="visually-hidden" role="status" aria-live="polite">
        {said()}
      </div>
    </section>
  );
}

function pillWords(lines: number): string {
  if (lines === 0) return "Follow the end";
  return lines === 1 ? "1 new line" : `${formatCount(lines)} new lines`;
}
