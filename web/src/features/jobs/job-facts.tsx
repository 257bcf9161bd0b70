/** What a job is and how it ended, in a column beside its log. */
import { type Job, timestampDate } from "@devmesh/sdk";
import { type JSX, Show } from "solid-js";
import { CopyButton } from "../../ui/copy-button.tsx";
import { formatBytes, formatDuration } from "../../ui/format.ts";
import { Ago, createNow } from "../../ui/time.tsx";
import { Artifacts } from "./artifacts.tsx";
import { isolationWord } from "./job-status.ts";
import { limitWords, runMs } from "./job-words.ts";

/** One fact. */
function Fact(props: { readonly name: string; readonly children: JSX.Element }): JSX.Element {
  return (
    <>
      <dt>{props.name}</dt>
      <dd>{props.children}</dd>
    </>
  );
}

/** The facts of a job. */
export function JobFacts(props: { readonly job: Job }): JSX.Element {
  const now = createNow();
  const duration = () => {
    const ms = runMs(props.job, now());
    return ms === undefined ? "not started" : formatDuration(ms);
  };
  const labels = () => Object.entries(props.job.spec?.labels ?? {});
  return (
    <aside class="facts" aria-label="Facts">
      <section class="panel">
        <h2>Facts</h2>
        <dl>
          <Fact name="Id">
            <span class="id-line">
              <code>{props.job.id}</code>
              <CopyButton isBare label="Copy the id" text={() => props.job.id} />
            </span>
          </Fact>
          <Fact name="Type">{props.job.type}</Fact>
          <Fact name="Isolation">{isolationOf(props.job)}</Fact>
          <Fact name="Runner">
            <code>{props.job.runner || "–"}</code>
          </Fact>
          <Fact name="Attempt">{props.job.attempt}</Fact>
          <Fact name="Created">
            <Ago time={props.job.createTime && timestampDate(props.job.createTime)} />
          </Fact>
          <Fact name="Run time">{duration()}</Fact>
          <Fact name="Owner">
            <code>{props.job.owner}</code>
          </Fact>
          <Show when={limitWords(props.job.spec)}>
            {(words) => <Fact name="Limits">{words()}</Fact>}
          </Show>
          <Show when={labels().length > 0}>
            <Fact name="Labels">
              {labels()
                .map(([key, value]) => `${key}=${value}`)
                .join(", ")}
            </Fact>
          </Show>
        </dl>
      </section>
      <Show when={props.job.result}>
        {(result) => (
          <>
            <section class="panel">
              <h2>Result</h2>
              <dl>
                <Show when={result().exitCode !== undefined}>
                  <Fact name="Exit status">{result().exitCode}</Fact>
                </Show>
                <Show when={result().reason !== ""}>
                  <Fact name="Reason">
                    <code>{result().reason}</code>
                  </Fact>
                </Show>
                <Show when={result().message !== ""}>
                  <Fact name="Message">{result().message}</Fact>
                </Show>
                <Fact name="Log">{formatBytes(Number(result().logBytes))}</Fact>
                <Show when={result().logSha256}>
                  {(sha256) => (
                    <Fact name="SHA-256">
                      <span class="id-line">
                        <code title={sha256()}>{sha256().slice(0, 16)}…</code>
                        <CopyButton isBare label="Copy the log’s SHA-256" text={sha256} />
                      </span>
                    </Fact>
                  )}
                </Show>
              </dl>
            </section>
            <Artifacts artifacts={result().artifacts} />
          </>
        )}
      </Show>
    </aside>
  );
}

/** The isolation, and the driver that gave it where that says more. */
function isolationOf({ result, spec }: Job): string {
  const word = isolationWord(result?.isolation || spec?.isolation || 0);
  const driver = result?.driver ?? "";
  return driver === "" || driver === word ? word : `${word} (${driver})`;
}
