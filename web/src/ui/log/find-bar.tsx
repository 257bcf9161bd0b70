/** Owns the search field of a log. */
import { type JSX, onMount, Show } from "solid-js";
import { formatCount } from "../format.ts";
import { Icon } from "../icon.tsx";
import type { Find } from "./create-find.ts";

/** The search field, the count, and the way from match to match. */
export function FindBar(props: {
  readonly find: Find;
  readonly onClose: () => void;
  readonly ref: (input: HTMLInputElement) => void;
}): JSX.Element {
  let input: HTMLInputElement | undefined;
  onMount(() => {
    if (input === undefined) return;
    props.ref(input);
    input.focus();
    input.select();
  });
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "Enter") props.find.go(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") props.onClose();
    else return;
    event.preventDefault();
  };
  const words = () => {
    const { find } = props;
    if (find.problem() !== "") return "not a pattern";
    if (find.query().text === "") return "";
    if (find.isScanning()) return `${formatCount(find.count())}…`;
    if (find.count() === 0) return "no matches";
    return `${formatCount(find.index() + 1)} of ${formatCount(find.count())}`;
  };
  return (
    <search class="find-bar">
      <Icon name="search" />
      <input
        ref={input}
        type="text"
        aria-label="Find in log"
        placeholder="Find in the whole log"
        spellcheck={false}
        value={props.find.query().text}
        onInput={(event) =>
          props.find.setQuery({ ...props.find.query(), text: event.currentTarget.value })
        }
        onKeyDown={onKey}
        aria-invalid={props.find.problem() !== ""}
      />
      <output class="find-count" title={props.find.problem()}>
        {words()}
      </output>
      <Toggle
        label="Match case"
        sign="Aa"
        isOn={props.find.query().matchCase ?? false}
        onToggle={(matchCase) => props.find.setQuery({ ...props.find.query(), matchCase })}
      />
      <Toggle
        label="Regular expression"
        sign=".*"
        isOn={props.find.query().regex ?? false}
        onToggle={(regex) => props.find.setQuery({ ...props.find.query(), regex })}
      />
      <Show when={props.find.count() > 0}>
        <button
          type="button"
          class="bare icon-only"
          aria-label="Previous match"
          onClick={() => props.find.go(-1)}
        >
          <Icon name="up" />
        </button>
        <button
          type="button"
          class="bare icon-only"
          aria-label="Next match"
          onClick={() => props.find.go(1)}
        >
          <Icon name="down" />
        </button>
      </Show>
      <button
        type="button"
        class="bare icon-only"
        aria-label="Close find"
        onClick={() => props.onClose()}
      >
        <Icon name="close" />
      </button>
    </search>
  );
}

function Toggle(props: {
  readonly label: string;
  readonly sign: string;
  readonly isOn: boolean;
  readonly onToggle: (isOn: boolean) => void;
}): JSX.Element {
  return (
    <button
      type="button"
      class="bare icon-only sign"
      aria-label={props.label}
      title={props.label}
      aria-pressed={props.isOn}
      onClick={() => props.onToggle(!props.isOn)}
    >
      {props.sign}
    </button>
  );
}
