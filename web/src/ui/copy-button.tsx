/** Owns copying text, with a word on whether it worked. */
import { createSignal, type JSX, onCleanup } from "solid-js";
import { Icon } from "./icon.tsx";

const shownMs = 2_000;

/** A button that copies what `text` answers. */
export function CopyButton(props: {
  readonly label: string;
  readonly text: () => string;
  readonly isBare?: boolean;
}): JSX.Element {
  const [said, setSaid] = createSignal("");
  let timer: ReturnType<typeof setTimeout> | undefined;
  onCleanup(() => clearTimeout(timer));
  const copy = async () => {
    const ok = await writeClipboard(props.text());
    setSaid(ok ? "Copied" : "Not allowed");
    clearTimeout(timer);
    timer = setTimeout(() => setSaid(""), shownMs);
  };
  return (
    <button
      type="button"
      class={props.isBare ? "bare icon-only" : "icon-only"}
      onClick={() => void copy()}
      aria-label={props.label}
      title={said() || props.label}
    >
      <Icon name={said() === "Copied" ? "check" : "copy"} />
      <span class="visually-hidden" role="status">
        {said()}
      </span>
    </button>
  );
}

/** Browsers give `navigator.clipboard` to secure pages only, and may refuse it. */
async function writeClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch (error: unknown) {
    if (!(error instanceof DOMException) && !(error instanceof TypeError)) throw error;
    return false;
  }
}
