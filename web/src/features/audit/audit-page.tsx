/** The screen that tells who changed what. */
import { timestampDate } from "@devmesh/sdk";
import { For, type JSX, Show } from "solid-js";
import { OkChip } from "../../ui/chip.tsx";
import { Empty, ErrorNote, Loading, Page, StaleNote } from "../../ui/page.tsx";
import { place, withQuery } from "../../ui/router.ts";
import { Ago } from "../../ui/time.tsx";
import { createLoad } from "../backend/load.ts";

const refreshMs = 10_000;

/** Audit rows, newest first. */
export function AuditPage(): JSX.Element {
  const list = createLoad({
    key: () => place().query.get("page") ?? "",
    load: (client, key, signal) => client.audit.list({ pageSize: 100 }, { signal }).page(key),
    everyMs: () => refreshMs,
  });
  return (
    <Page title="Audit" actions={<StaleNote when={list.isStale()} />}>
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
            <Show
              when={page().items.length > 0}
              fallback={
                <Empty>
                  <p>Nobody has changed anything yet.</p>
                </Empty>
              }
            >
              <div class="table-frame">
                <table>
                  <thead>
                    <tr>
                      <th scope="col">Time</th>
                      <th scope="col">Actor</th>
                      <th scope="col">Action</th>
                      <th scope="col" class="wide">
                        Resource
                      </th>
                      <th scope="col">Outcome</th>
                      <th scope="col">Request</th>
                    </tr>
                  </thead>
                  <tbody>
                    <For each={page().items}>
                      {(row) => (
                        <tr>
                          <td class="muted">
                            <Ago time={row.time && timestampDate(row.time)} />
                          </td>
                          <td class="code">{row.actor}</td>
                          <td class="code">{row.action}</td>
                          <td class="wide code">
                            <Show
                              when={row.resource.startsWith("job_")}
                              fallback={row.resource || "–"}
                            >
                              <a href={`/jobs/${row.resource}`}>{row.resource}</a>
                            </Show>
                          </td>
                          <td>
                            <OkChip ok={row.outcome === "ok"} yes="ok" no={row.outcome} />
                          </td>
                          <td class="code muted">{row.correlationId}</td>
                        </tr>
                      )}
                    </For>
                  </tbody>
                </table>
              </div>
            </Show>
            <nav class="pager" aria-label="Pages">
              <Show when={place().query.has("page")}>
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
