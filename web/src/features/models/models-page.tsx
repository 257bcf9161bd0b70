/** The screen with the models, their providers, and a box to ask one. */
import type { Model, Provider } from "@devmesh/sdk";
import { For, type JSX, Show } from "solid-js";
import { OkChip } from "../../ui/chip.tsx";
import { formatCount } from "../../ui/format.ts";
import { Empty, ErrorNote, Loading, Page, StaleNote } from "../../ui/page.tsx";
import { createLoad } from "../backend/load.ts";
import { PromptBox } from "./prompt-box.tsx";

const refreshMs = 15_000;

/** Models, providers, and a question. */
export function ModelsPage(): JSX.Element {
  const list = createLoad({
    key: () => "models",
    load: (client, _key, signal) => client.llm.models({ signal }),
    everyMs: () => refreshMs,
  });
  return (
    <Page title="Models" actions={<StaleNote when={list.isStale()} />}>
      <ErrorNote error={list.error()} />
      <Show
        when={list.data()}
        fallback={
          <Show when={!list.error()}>
            <Loading />
          </Show>
        }
      >
        {(data) => (
          <div class="split">
            <div>
              <h2>Providers</h2>
              <Providers providers={data().providers} />
              <h2>Models</h2>
              <Models models={data().models} />
            </div>
            <PromptBox models={data().models} providers={data().providers} />
          </div>
        )}
      </Show>
    </Page>
  );
}

function where(isLocal: boolean): string {
  return isLocal ? "local" : "cloud";
}

function Providers(props: { readonly providers: readonly Provider[] }): JSX.Element {
  return (
    <div class="table-frame">
      <table>
        <thead>
          <tr>
            <th scope="col">Health</th>
            <th scope="col">Provider</th>
            <th scope="col">Where</th>
            <th scope="col" class="number">
              Models
            </th>
            <th scope="col" class="wide">
              Detail
            </th>
          </tr>
        </thead>
        <tbody>
          <For each={props.providers}>
            {(provider) => (
              <tr>
                <td>
                  <OkChip ok={provider.healthy} yes="healthy" no="not healthy" />
                </td>
                <td class="code">{provider.name}</td>
                <td>
                  <span class="tag">{where(provider.local)}</span>
                </td>
                <td class="number">{provider.models}</td>
                <td class="wide wrap muted">{provider.detail}</td>
              </tr>
            )}
          </For>
        </tbody>
      </table>
    </div>
  );
}

function Models(props: { readonly models: readonly Model[] }): JSX.Element {
  const size = (model: Model) => {
    if (model.dimensions > 0) return `${formatCount(model.dimensions)} dimensions`;
    return model.contextTokens > 0 ? `${formatCount(model.contextTokens)} tokens` : "–";
  };
  return (
    <Show
      when={props.models.length > 0}
      fallback={
        <Empty>
          <p>No provider that is up has a model.</p>
        </Empty>
      }
    >
      <div class="table-frame">
        <table>
          <thead>
            <tr>
              <th scope="col" class="wide">
                Model
              </th>
              <th scope="col">Where</th>
              <th scope="col">Roles</th>
              <th scope="col" class="number">
                Size
              </th>
            </tr>
          </thead>
          <tbody>
            <For each={props.models}>
              {(model) => (
                <tr>
                  <td class="wide code">
                    <span class="muted">{model.provider}/</span>
                    {model.name}
                  </td>
                  <td>
                    <span class="tag">{where(model.local)}</span>
                  </td>
                  <td>{model.roles.join(", ")}</td>
                  <td class="number">{size(model)}</td>
                </tr>
              )}
            </For>
          </tbody>
        </table>
      </div>
    </Show>
  );
}
