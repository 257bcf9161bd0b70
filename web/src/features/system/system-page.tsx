/** The screen that tells how the platform does. */
import { type GetSystemResponse, timestampDate } from "@devmesh/sdk";
import { For, type JSX, Show } from "solid-js";
import { OkChip } from "../../ui/chip.tsx";
import { ErrorNote, Loading, Page, StaleNote } from "../../ui/page.tsx";
import { Ago } from "../../ui/time.tsx";
import { useBackend } from "../backend/backend.ts";
import { createLoad } from "../backend/load.ts";

const refreshMs = 5_000;

/** The parts, ready or not, the version, the feature flags. */
export function SystemPage(): JSX.Element {
  const backend = useBackend();
  const loaded = createLoad({
    key: () => "system",
    load: (client, _key, signal) => client.system.get({ signal }),
    everyMs: () => refreshMs,
  });
  return (
    <Page title="Health" actions={<StaleNote when={loaded.isStale()} />}>
      <ErrorNote error={loaded.error()} />
      <Show
        when={loaded.data()}
        fallback={
          <Show when={!loaded.error()}>
            <Loading />
          </Show>
        }
      >
        {(system) => (
          <>
            <dl class="figures panel">
              <div>
                <dt>Backend</dt>
                <dd>
                  <code>{backend.url}</code>
                </dd>
              </div>
              <div>
                <dt>Version</dt>
                <dd>{system().version}</dd>
              </div>
              <div>
                <dt>Started</dt>
                <dd>
                  <Ago time={started(system())} />
                </dd>
              </div>
              <For each={Object.entries(system().features).sort()}>
                {([name, isOn]) => (
                  <div>
                    <dt>{name}</dt>
                    <dd>{isOn ? "on" : "off"}</dd>
                  </div>
                )}
              </For>
            </dl>
            <div class="table-frame">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Part</th>
                    <th scope="col">State</th>
                    <th scope="col" class="wide">
                      Detail
                    </th>
                  </tr>
                </thead>
                <tbody>
                  <For each={system().parts}>
                    {(part) => (
                      <tr>
                        <td class="code">{part.name}</td>
                        <td>
                          <OkChip ok={part.ok} yes="ready" no="not ready" />
                        </td>
                        <td class="wide wrap">{part.detail}</td>
                      </tr>
                    )}
                  </For>
                </tbody>
              </table>
            </div>
          </>
        )}
      </Show>
    </Page>
  );
}

function started({ startTime }: GetSystemResponse): Date | undefined {
  return startTime && timestampDate(startTime);
}
