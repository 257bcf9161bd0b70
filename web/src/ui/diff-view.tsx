/** Owns showing a unified diff. */
import { createMemo, For, type JSX } from "solid-js";
import { type DiffLine, parseDiff } from "./diff.ts";
import { formatCount } from "./format.ts";

const signs: Readonly<Record<DiffLine["kind"], string>> = {
  add: "+",
  remove: "−",
  context: "",
  hunk: "",
  meta: "",
};

/** A diff, one table for each file. */
export function DiffView(props: { readonly patch: string }): JSX.Element {
  const files = createMemo(() => parseDiff(props.patch));
  return (
    <For each={files()}>
      {(file) => (
        <details class="diff" open>
          <summary>
            <code>{file.name}</code>
            <span class="diff-count">
              <span class="tone-good">+{formatCount(file.added)}</span>{" "}
              <span class="tone-bad">−{formatCount(file.removed)}</span>
            </span>
          </summary>
          <section class="diff-scroll" tabindex="0" aria-label={`Changes of ${file.name}`}>
            <table>
              <tbody>
                <For each={file.lines}>
                  {(line) => (
                    <tr class={`diff-${line.kind}`}>
                      <td class="diff-number">{line.oldLine}</td>
                      <td class="diff-number">{line.newLine}</td>
                      <td class="diff-sign">{signs[line.kind]}</td>
                      <td class="diff-text">{line.text}</td>
                    </tr>
                  )}
                </For>
              </tbody>
            </table>
          </section>
        </details>
      )}
    </For>
  );
}
