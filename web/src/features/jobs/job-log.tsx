/** The log of a job: the viewer with the connection's state and the raw download. */
import type { Job, JobEvent } from "@devmesh/sdk";
import { createSignal, type JSX, Show } from "solid-js";
import { formatBytes } from "../../ui/format.ts";
import { Icon } from "../../ui/icon.tsx";
import { LogView } from "../../ui/log/log-view.tsx";
import { ErrorNote } from "../../ui/page.tsx";
import { navigate, place } from "../../ui/router.ts";
import { saveFile } from "../../ui/save-file.ts";
import { useBackend } from "../backend/backend.ts";
import type { FeedState } from "./job-feed.ts";
import { statusLook } from "./job-status.ts";
import type { LiveLog } from "./live-log.ts";

const stateWords: Readonly<Record<FeedState, string>> = {
  connecting: "connecting",
  live: "live",
  reconnecting: "reconnecting",
  offline: "offline",
  ended: "complete",
  refused: "not available",
};

/** A job's log. */
export function JobLog(props: { readonly job: Job; readonly log: LiveLog }): JSX.Element {
  const selectedLine = () => {
    const line = /^L(\d+)$/.exec(place().hash)?.[1];
    return line === undefined ? undefined : Number(line) - 1;
  };
  const select = (line: number) => {
    const { path, query } = place();
    const search = query.size > 0 ? `?${query}` : "";
    navigate(`${path}${search}#L${line + 1}`, { replace: true });
  };
  const empty = () => {
    const { word } = statusLook(props.job.status);
    return props.log.state() === "ended"
      ? `The job ${word} without output.`
      : `The job is ${word}. Its output will appear here.`;
  };
  return (
    <>
      <Show when={props.log.refusal() !== ""}>
        <ErrorNote error={new Error(props.log.refusal())} />
      </Show>
      <LogView
        store={props.log.store}
        version={props.log.version}
        label={`Log of job ${props.job.id}`}
        empty={empty()}
        selectedLine={selectedLine}
        onSelect={select}
        status={
          <span class={`live-state is-${props.log.state()}`}>
            <i class="dot" />
            {stateWords[props.log.state()]}
          </span>
        }
        tools={<RawDownload job={props.job} />}
      />
    </>
  );
}

/** Saves the log's bytes as they are, taken from the job's events. */
function RawDownload(props: { readonly job: Job }): JSX.Element {
  const backend = useBackend();
  const [progress, setProgress] = createSignal("");
  const save = async () => {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    try {
      await backend.call(async (client) => {
        for await (const event of client.jobs.events(props.job.id, { pageSize: 1000 })) {
          const data = logBytes(event);
          if (data === undefined) continue;
          pieces.push(data);
          bytes += data.length;
          setProgress(formatBytes(bytes));
        }
      });
      saveFile(`${props.job.id}.log`, pieces, "text/plain");
      setProgress("");
    } catch (error: unknown) {
      setProgress(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <>
      <span class="muted" role="status">
        {progress()}
      </span>
      <button
        type="button"
        class="bare icon-only"
        aria-label="Download the raw log"
        title="Download the raw log"
        onClick={() => void save()}
      >
        <Icon name="download" />
      </button>
    </>
  );
}

function logBytes(event: JobEvent): Uint8Array | undefined {
  return event.kind.case === "log" ? event.kind.value.data : undefined;
}
