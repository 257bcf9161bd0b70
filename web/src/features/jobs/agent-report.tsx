/** What an agent did: its own words, what it took, tests before and after, the change. */
import type { AgentReport } from "@devmesh/sdk";
import { type JSX, Show } from "solid-js";
import { Chip, type ChipLook } from "../../ui/chip.tsx";
import { DiffView } from "../../ui/diff-view.tsx";
import { formatCount } from "../../ui/format.ts";
import { Empty } from "../../ui/page.tsx";

const testLooks: Readonly<Record<string, ChipLook>> = {
  passed: { icon: "check", word: "passed", tone: "good" },
  failed: { icon: "cross", word: "failed", tone: "bad" },
};
const noTests: ChipLook = { icon: "question", word: "not run", tone: "neutral" };

/** An agent's report. */
export function AgentReportView(props: { readonly report: AgentReport }): JSX.Element {
  return (
    <div class="report">
      <section class="panel" aria-label="Report">
        <Show when={props.report.summary}>{(summary) => <p class="summary">{summary()}</p>}</Show>
        <dl class="figures">
          <Figure name="Tests before">
            <Chip look={testLooks[props.report.testsBefore] ?? noTests} />
          </Figure>
          <Figure name="Tests after">
            <Chip look={testLooks[props.report.testsAfter] ?? noTests} />
          </Figure>
          <Figure name="Steps">{formatCount(props.report.steps)}</Figure>
          <Figure name="Tokens in">{formatCount(props.report.inputTokens)}</Figure>
          <Figure name="Tokens out">{formatCount(props.report.outputTokens)}</Figure>
          <Figure name="Model">
            <code>{props.report.model || "–"}</code>
          </Figure>
        </dl>
      </section>
      <Show
        when={props.report.patch}
        fallback={
          <Empty>
            <p>The agent changed no file.</p>
          </Empty>
        }
      >
        {(patch) => <DiffView patch={patch()} />}
      </Show>
    </div>
  );
}

function Figure(props: { readonly name: string; readonly children: JSX.Element }): JSX.Element {
  return (
    <div>
      <dt>{props.name}</dt>
      <dd>{props.children}</dd>
    </div>
  );
}
