/** The screen with the list of jobs. */
import { type Job, jobStatusNames, timestampDate } from "@devmesh/sdk";
import { For, type JSX, Show } from "solid-js";
import { Chip } from "../../ui/chip.tsx";
import { formatDuration } from "../../ui/format.ts";
import { Icon } from "../../ui/icon.tsx";
import { Empty, ErrorNote, Loading, Page, StaleNote } from "../../ui/page.tsx";
import { navigate, place, withQuery } from "../../ui/router.ts";
import { Ago, createNow } from "../../ui/time.tsx";
import { createLoad } from "../backend/load.ts";
import { readFilter } from "./job-filter.ts";
import { isolationWord, statusLook } from "./job-status.ts";
import { jobTitle, runMs } from "./job-words.ts";

const refreshMs = 3_000;

/** Jobs, newest first, filtered by what the address says. */
export function JobsPage(): JSX.Element {
  const list = createLoad({
    key: () => place().query.toString(),
    load: (client, key, signal) => {
      const { filter, pageToken } = readFilter(new URLSearchParams(key));
      return client.jobs.list({ ...filter, pageSize: 50 }, { signal }).page(pageToken);
    },
    everyMs: () => refreshMs,
  });
  const isFirstPage = () => !place().query.has("page");
  return (
    <Page
      title="Jobs"
      actions={
        <>
          <StaleNote when={list.isStale()} />
          <a class="button primary" href="/jobs/new">
            <Icon name="plus" />
            New job
          </a>
        </>
      }
    >
      <Filter />
      <ErrorNote error={list.error()} />
      <Show
        when={list.data()}
        fallback={
          <Show when={!list.error()}>
            <Loading />
          </Show>
        }
      >
        {(page) => (
          <>
            <Show when={page().items.length > 0} fallback={<NoJobs />}>
              <JobTable jobs={page().items} />
            </Show>
            <nav class="pager" aria-label="Pages">
              <Show when={!isFirstPage()}>
                <a class="button" href={withQuery({ page: "" })}>
                  Newest
                </a>
              </Show>
              <Show when={page().nextPageToken !== ""}>
                <a class="button" href={withQuery({ page: page().nextPageToken })}>
                  Older
                </a>
              </Show>
            </nav>
          </>
        )}
      </Show>
    </Page>
  );
}

function Filter(): JSX.Element {
  const status = () => place().query.get("status") ?? "";
  return (
    <div class="toolbar">
      <nav class="segments" aria-label="Status">
        <For each={["", ...jobStatusNames]}>
          {(name) => (
            <a
              href={withQuery({ status: name, page: "" })}
              aria-current={status() === name ? "true" : undefined}
            >
              {name || "all"}
            </a>
          )}
        </For>
      </nav>
      <label class="inline">
        Type
        <select
          value={place().query.get("type") ?? ""}
          onChange={(event) => navigate(withQuery({ type: event.currentTarget.value, page: "" }))}
        >
          <option value="">all</option>
          <option value="command">command</option>
          <option value="agent">agent</option>
        </select>
      </label>
    </div>
  );
}

function NoJobs(): JSX.Element {
  const isFiltered = () => place().query.size > 0;
  return (
    <Empty>
      <Show when={isFiltered()} fallback={<p>No jobs yet. The first one is a click away.</p>}>
        <p>No job matches this filter.</p>
        <a class="button" href="/jobs">
          Show all jobs
        </a>
      </Show>
    </Empty>
  );
}

function JobTable(props: { readonly jobs: readonly Job[] }): JSX.Element {
  const now = createNow();
  const duration = (job: Job) => {
    const ms = runMs(job, now());
    return ms === undefined ? "–" : formatDuration(ms);
  };
  return (
    <div class="table-frame">
      <table class="jobs-table">
        <thead>
          <tr>
            <th scope="col">Status</th>
            <th scope="col" class="wide">
              Job
            </th>
            <th scope="col">Type</th>
            <th scope="col">Isolation</th>
            <th scope="col">Runner</th>
            <th scope="col" class="number">
              Run time
            </th>
            <th scope="col" class="number">
              Created
            </th>
          </tr>
        </thead>
        <tbody>
          <For each={props.jobs}>
            {(job) => (
              <tr>
                <td>
                  <Chip look={statusLook(job.status)} />
                </td>
                <td class="wide">
                  <a class="job-link" href={`/jobs/${job.id}`}>
                    <span class={job.type === "agent" ? "job-title" : "job-title code"}>
                      {jobTitle(job)}
                    </span>
                    <span class="job-id">{job.id}</span>
                  </a>
                </td>
                <td>{job.type}</td>
                <td>{isolationWord(job.result?.isolation || job.spec?.isolation || 0)}</td>
                <td class="muted code runner-id" title={job.runner}>
                  {job.runner || "–"}
                </td>
                <td class="number">{duration(job)}</td>
                <td class="number muted">
                  <Ago time={job.createTime && timestampDate(job.createTime)} />
                </td>
              </tr>
            )}
          </For>
        </tbody>
      </table>
    </div>
  );
}
