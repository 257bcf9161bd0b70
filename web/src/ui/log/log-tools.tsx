/** Owns the small tools of a log's toolbar. */
import type { JSX } from "solid-js";

/** A word that is on or off. */
export function ToolToggle(props: {
  readonly label: string;
  readonly isOn: boolean;
  readonly onToggle: (isOn: boolean) => void;
}): JSX.Element {
  return (
    <button
      type="button"
      class="bare"
      aria-pressed={props.isOn}
      onClick={() => props.onToggle(!props.isOn)}
    >
      {props.label}
    </button>
  );
}

/** A field that goes to the line with a number. Numbers behind the last mean the last. */
export function LineField(props: {
  readonly count: () => number;
  readonly onGo: (line: number) => void;
}): JSX.Element {
  const go = (field: HTMLInputElement) => {
    const wanted = Number.parseInt(field.value, 10);
    if (Number.isNaN(wanted) || props.count() === 0) return;
    props.onGo(Math.min(Math.max(1, wanted), props.count()) - 1);
    field.value = "";
  };
  return (
    <input
      class="line-field"
      type="text"
      inputmode="numeric"
      aria-label="Go to line"
      placeholder="Line"
      onKeyDown={(event) => event.key === "Enter" && go(event.currentTarget)}
    />
  );
}
