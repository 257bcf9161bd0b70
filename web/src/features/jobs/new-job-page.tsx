/** The screen that hands in a new job. */
import { createIdempotencyKey, type IsolationName, isolationNames } from "@devmesh/sdk";
import { createSignal, For, type JSX, Show } from "solid-js";
import { createStore } from "solid-js/store";
import { ErrorNote, Page } from "../../ui/page.tsx";
import { navigate } from "../../ui/router.ts";
import { useBackend } from "../backend/backend.ts";
import { emptyDraft, type JobDraft, readDraft } from "./job-draft.ts";
import { isolationWords } from "./job-status.ts";

/** A form for a command or an agent's task. */
export function NewJobPage(): JSX.Element {
  const backend = useBackend();
  const [draft, setDraft] = createStore<JobDraft>({ ...emptyDraft });
  const set = (change: Partial<JobDraft>) => setDraft(change);
  const [error, setError] = createSignal<Error>();
  const [isBusy, setBusy] = createSignal(false);
  // One key for one form: a second click or a lost answer makes no second job.
  let sent = { body: "", key: "" };

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const input = readDraft(draft);
    if ("problem" in input) {
      setError(new Error(input.problem));
      return;
    }
    const body = JSON.stringify(input);
    if (sent.body !== body) sent = { body, key: createIdempotencyKey() };
    setBusy(true);
    setError(undefined);
    try {
      const idempotencyKey = sent.key;
      const made = await backend.call((client) => client.jobs.create(input, { idempotencyKey }));
      navigate(`/jobs/${made.jobId}`);
    } catch (failure: unknown) {
      setError(failure instanceof Error ? failure : new Error(String(failure)));
    } finally {
      setBusy(false);
    }
  };

  return (
    <Page title="New job">
      <form class="panel form" onSubmit={(event) => void submit(event)}>
        <fieldset class="choice">
          <legend>What is to be done</legend>
          <label>
            <input
              type="radio"
              name="type"
              checked={draft.type === "command"}
              onChange={() => set({ type: "command" })}
            />
            Run a command
          </label>
          <label>
            <input
              type="radio"
              name="type"
              checked={draft.type === "agent"}
              onChange={() => set({ type: "agent" })}
            />
            Give the coding agent a task
          </label>
        </fieldset>
        <Show when={draft.type === "command"} fallback={<AgentFields draft={draft} set={set} />}>
          <CommandFields draft={draft} set={set} />
        </Show>
        <div class="pair">
          <label>
            Isolation, at least
            <select
              value={draft.isolation}
              onChange={(event) =>
                set({ isolation: isolationOf(event.currentTarget.value) ?? "process" })
              }
            >
              <For each={isolationNames}>
                {(name) => <option value={name}>{isolationWords[name]}</option>}
              </For>
            </select>
          </label>
          <label>
            Time limit in minutes
            <input
              type="text"
              inputmode="decimal"
              placeholder="the server’s default"
              value={draft.timeoutMinutes}
              onInput={(event) => set({ timeoutMinutes: event.currentTarget.value })}
            />
          </label>
        </div>
        <ErrorNote error={error()} />
        <div class="actions">
          <a class="button" href="/jobs">
            Back
          </a>
          <button type="submit" class="primary" disabled={isBusy()}>
            {isBusy() ? "Handing in…" : "Start the job"}
          </button>
        </div>
      </form>
    </Page>
  );
}

interface FieldsProps {
  readonly draft: JobDraft;
  readonly set: (change: Partial<JobDraft>) => void;
}

function CommandFields(props: FieldsProps): JSX.Element {
  return (
    <>
      <label>
        Command
        <textarea
          class="code"
          rows="4"
          spellcheck={false}
          placeholder="npm test"
          value={props.draft.command}
          onInput={(event) => props.set({ command: event.currentTarget.value })}
        />
      </label>
      <label class="check">
        <input
          type="checkbox"
          checked={props.draft.isScript}
          onChange={(event) => props.set({ isScript: event.currentTarget.checked })}
        />
        <span>
          Run it with <code>sh -c</code>; otherwise it is split into words and no shell sees it
        </span>
      </label>
    </>
  );
}

function AgentFields(props: FieldsProps): JSX.Element {
  return (
    <>
      <label>
        Task
        <textarea
          rows="6"
          placeholder="Make the failing test of the parser pass."
          value={props.draft.task}
          onInput={(event) => props.set({ task: event.currentTarget.value })}
        />
      </label>
      <div class="pair">
        <label>
          Command that proves it done
          <input
            class="code"
            type="text"
            placeholder="none"
            value={props.draft.testCommand}
            onInput={(event) => props.set({ testCommand: event.currentTarget.value })}
          />
        </label>
        <label>
          Model
          <input
            class="code"
            type="text"
            placeholder="the role “coding”"
            value={props.draft.model}
            onInput={(event) => props.set({ model: event.currentTarget.value })}
          />
        </label>
      </div>
    </>
  );
}

function isolationOf(name: string): IsolationName | undefined {
  return isolationNames.find((known) => known === name);
}
