/** What happened to a job besides its output. */
import { For, type JSX, Show } from "solid-js";
import { formatClock } from "../../ui/format.ts";
import { Empty } from "../../ui/page.tsx";
import type { JobHappening } from "./live-log.ts";

/** Status changes and notes, in order. */
export function JobEvents(props: { readonly happenings: readonly JobHappening[] }): JSX.Element {
  return (
    <Show
      when={props.happenings.length > 0}
      fallback={
        <Empty>
          <p>Nothing has happened yet.</p>
        </Empty>
      }
    >
      <div class="table-frame">
        <table>
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">What</th>
              <th scope="col" class="wide">
                Detail
              </th>
            </tr>
          </thead>
          <tbody>
            <For each={props.happenings}>
              {(happening) => (
                <tr class={`level-${happening.level}`}>
                  <td class="code muted">{formatClock(happening.timeMs)}</td>
                  <td class="code">{happening.topic}</td>
                  <td class="wide wrap">{happening.message}</td>
                </tr>
              )}
            </For>
          </tbody>
        </table>
      </div>
    </Show>
  );
}
