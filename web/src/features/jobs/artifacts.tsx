/** The files that a job left. */
import type { Artifact } from "@devmesh/sdk";
import { createSignal, For, type JSX, Show } from "solid-js";
import { formatBytes } from "../../ui/format.ts";
import { Icon } from "../../ui/icon.tsx";
import { ErrorNote } from "../../ui/page.tsx";
import { saveFile } from "../../ui/save-file.ts";
import { useBackend } from "../backend/backend.ts";

/** Files with their download; their content is checked against its SHA-256 on the way. */
export function Artifacts(props: { readonly artifacts: readonly Artifact[] }): JSX.Element {
  const backend = useBackend();
  const [error, setError] = createSignal<Error>();
  const [busy, setBusy] = createSignal("");
  const save = async (artifact: Artifact) => {
    setError(undefined);
    setBusy(artifact.name);
    try {
      const pieces: Uint8Array[] = [];
      await backend.call(async (client) => {
        for await (const piece of client.blobs.get(artifact.sha256)) pieces.push(piece);
      });
      saveFile(artifact.name, pieces, artifact.mediaType);
    } catch (failure: unknown) {
      setError(failure instanceof Error ? failure : new Error(String(failure)));
    } finally {
      setBusy("");
    }
  };
  return (
    <Show when={props.artifacts.length > 0}>
      <section class="panel">
        <h2>Artifacts</h2>
        <ErrorNote error={error()} />
        <ul class="files">
          <For each={props.artifacts}>
            {(artifact) => (
              <li>
                <button
                  type="button"
                  class="bare file"
                  aria-busy={busy() === artifact.name}
                  onClick={() => void save(artifact)}
                >
                  <Icon name="download" />
                  <span class="visually-hidden">Download </span>
                  <span class="code">{artifact.name}</span>
                  <span class="muted">{formatBytes(Number(artifact.sizeBytes))}</span>
                </button>
              </li>
            )}
          </For>
        </ul>
      </section>
    </Show>
  );
}
