/** The screen with the hosts that run jobs, and the isolation that each can give. */
import { type Agent, AgentStatus, timestampDate } from "@devmesh/sdk";
import { For, type JSX, Show } from "solid-js";
import { Chip, type ChipLook, OkChip } from "../../ui/chip.tsx";
import { Empty, ErrorNote, Loading, Page, StaleNote } from "../../ui/page.tsx";
import { Ago } from "../../ui/time.tsx";
import { createLoad } from "../backend/load.ts";
import { isolationWord } from "../jobs/job-status.ts";

const refreshMs = 5_000;

const alive: ChipLook = { icon: "check", word: "alive", tone: "good" };
const lost: ChipLook = { icon: "cross", word: "lost", tone: "bad" };

/** The runners, alive ones first. */
export function RunnersPage(): JSX.Element {
  const list = createLoad({
    key: () => "runners",
    load: (client, _key, signal) => client.agents.list({ signal }),
    everyMs: () => refreshMs,
  });
  return (
    <Page title="Runners" actions={<StaleNote when={list.isStale()} />}>
      <ErrorNote error={list.error()} />
      <Show
        when={list.data()}
        fallback={
          <Show when={!list.error()}>
            <Loading />
          </Show>
        }
      >
        {(agents) => (
          <For
            each={agents()}
            fallback={
              <Empty>
                <p>No runner is known. A job waits until one comes.</p>
              </Empty>
            }
          >
            {(agent) => <Runner agent={agent} />}
          </For>
        )}
      </Show>
    </Page>
  );
}

function Runner(props: { readonly agent: Agent }): JSX.Element {
  return (
    <section class="panel runner" aria-label={`Runner on ${props.agent.host}`}>
      <header>
        <Chip look={props.agent.status === AgentStatus.ALIVE ? alive : lost} />
        <h2>{props.agent.host}</h2>
        <code class="muted">{props.agent.id}</code>
        <span class="runner-facts">
          {props.agent.running} of {props.agent.capacity} running · version {props.agent.version} ·
          heard <Ago time={props.agent.lastSeen && timestampDate(props.agent.lastSeen)} />
        </span>
      </header>
      <div class="table-frame">
        <table>
          <thead>
            <tr>
              <th scope="col">Driver</th>
              <th scope="col">Isolation</th>
              <th scope="col">Available</th>
              <th scope="col">Engine</th>
              <th scope="col" class="wide">
                Reason and remedy
              </th>
            </tr>
          </thead>
          <tbody>
            <For each={props.agent.capabilities}>
              {(row) => (
                <tr>
                  <td class="code">{row.driver}</td>
                  <td>{isolationWord(row.isolation)}</td>
                  <td>
                    <OkChip ok={row.available} yes="yes" no="no" />
                  </td>
                  <td>{row.engine || "–"}</td>
                  <td class="wide wrap">
                    {row.reason}
                    <Show when={row.remedy !== ""}>
                      <span class="remedy">{row.remedy}</span>
                    </Show>
                  </td>
                </tr>
              )}
            </For>
          </tbody>
        </table>
      </div>
    </section>
  );
}
