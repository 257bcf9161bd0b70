/** The screen of one job. */
import { isFinalStatus, type Job } from "@devmesh/sdk";
import { createSignal, For, type JSX, Match, Show, Switch } from "solid-js";
import { Chip } from "../../ui/chip.tsx";
import { Icon } from "../../ui/icon.tsx";
import { Empty, ErrorNote, Loading, Page, StaleNote } from "../../ui/page.tsx";
import { navigate, place, withQuery } from "../../ui/router.ts";
import { useBackend } from "../backend/backend.ts";
import { createLoad } from "../backend/load.ts";
import { AgentReportView } from "./agent-report.tsx";
import { JobEvents } from "./job-events.tsx";
import { JobFacts } from "./job-facts.tsx";
import { JobLog } from "./job-log.tsx";
import { statusLook } from "./job-status.ts";
import { jobTitle } from "./job-words.ts";
import { createLiveLog } from "./live-log.ts";

/** How often a job that has not ended is asked for, beside what its stream tells. */
const refreshMs = 5_000;

/** One job: its log, what it is, what can be done about it. */
export function JobPage(props: { readonly id: string }): JSX.Element {
  const backend = useBackend();
  const { id } = props;
  const loaded = createLoad({
    key: () => id,
    load: (client, key, signal) => client.jobs.get(key, { signal }),
    everyMs: (job) => (job === undefined || isFinalStatus(job.status) ? undefined : refreshMs),
  });
  const log = createLiveLog(backend, id, () => loaded.reload());
  const tab = () => place().query.get("tab") ?? "log";
  const tabs = () => {
    const isAgent = loaded.data()?.type === "agent";
    return [
      { name: "log", label: "Log" },
      ...(isAgent ? [{ name: "report", label: "Agent report" }] : []),
      { name: "events", label: "Events" },
    ];
  };
  return (
    <Page
      title={id}
      heading={
        <Show when={loaded.data()} fallback={id}>
          {(job) => (
            <span class="job-heading">
              <Chip look={statusLook(job().status)} />
              <span class={job().type === "agent" ? "" : "code"} title={jobTitle(job())}>
                {jobTitle(job())}
              </span>
            </span>
          )}
        </Show>
      }
      actions={
        <>
          <StaleNote when={loaded.isStale()} />
          <Show when={loaded.data()}>
            {(job) => <JobActions job={job()} onChange={() => loaded.reload()} />}
          </Show>
        </>
      }
    >
      <ErrorNote error={loaded.error()} />
      <Show
        when={loaded.data()}
        fallback={
          <Show when={!loaded.error()}>
            <Loading />
          </Show>
        }
      >
        {(job) => (
          <div class="job-layout">
            <div class="job-main">
              <nav class="tabs" aria-label="Parts of the job">
                <For each={tabs()}>
                  {({ name, label }) => (
                    <a
                      href={withQuery({ tab: name === "log" ? "" : name })}
                      aria-current={tab() === name ? "page" : undefined}
                    >
                      {label}
                    </a>
                  )}
                </For>
              </nav>
              <Switch fallback={<JobLog job={job()} log={log} />}>
                <Match when={tab() === "report"}>
                  <Show when={job().result?.agent} fallback={<NoReport job={job()} />}>
                    {(report) => <AgentReportView report={report()} />}
                  </Show>
                </Match>
                <Match when={tab() === "events"}>
                  <JobEvents happenings={log.happenings()} />
                </Match>
              </Switch>
            </div>
            <JobFacts job={job()} />
          </div>
        )}
      </Show>
    </Page>
  );
}

function NoReport(props: { readonly job: Job }): JSX.Element {
  return (
    <Empty>
      <p>
        {isFinalStatus(props.job.status)
          ? "The agent left no report."
          : "The agent reports when it is done."}
      </p>
    </Empty>
  );
}

function JobActions(props: { readonly job: Job; readonly onChange: () => void }): JSX.Element {
  const backend = useBackend();
  const [error, setError] = createSignal<Error>();
  const [isBusy, setBusy] = createSignal(false);
  const run = async (act: () => Promise<void>) => {
    setBusy(true);
    setError(undefined);
    try {
      await act();
    } catch (failure: unknown) {
      setError(failure instanceof Error ? failure : new Error(String(failure)));
    } finally {
      setBusy(false);
    }
  };
  const cancel = async () => {
    await backend.call((client) => client.jobs.cancel(props.job.id, { detail: "by the console" }));
    props.onChange();
  };
  const retry = async () => {
    const made = await backend.call((client) => client.jobs.retry(props.job.id));
    navigate(`/jobs/${made.jobId}`);
  };
  return (
    <>
      <ErrorNote error={error()} />
      <Show
        when={isFinalStatus(props.job.status)}
        fallback={
          <button
            type="button"
            disabled={isBusy() || props.job.cancelRequested}
            onClick={() => void run(cancel)}
          >
            <Icon name="stop" />
            {props.job.cancelRequested ? "Cancelling…" : "Cancel"}
          </button>
        }
      >
        <button type="button" disabled={isBusy()} onClick={() => void run(retry)}>
          <Icon name="retry" />
          Retry
        </button>
      </Show>
    </>
  );
}
