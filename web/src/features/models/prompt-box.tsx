/** A question to a model, with a say in where it is answered; the answer streams in. */
import {
  type ChatDelta,
  type ChatEnd,
  DevmeshApiError,
  type Model,
  type Provider,
  type RouteReceipt,
} from "@devmesh/sdk";
import { createMemo, createSignal, For, type JSX, onCleanup, Show } from "solid-js";
import { formatCount } from "../../ui/format.ts";
import { Icon } from "../../ui/icon.tsx";
import { ErrorNote } from "../../ui/page.tsx";
import { useBackend } from "../backend/backend.ts";
import {
  defaultOverride,
  type Override,
  overrideOf,
  overrideWords,
  toPolicy,
} from "./provider-override.ts";

/** The box. */
export function PromptBox(props: {
  readonly models: readonly Model[];
  readonly providers: readonly Provider[];
}): JSX.Element {
  const backend = useBackend();
  const [chosen, setChosen] = createSignal<Override>();
  const override = createMemo(() => chosen() ?? defaultOverride(backend.system()?.features ?? {}));
  const [provider, setProvider] = createSignal("");
  const [model, setModel] = createSignal("");
  const [input, setInput] = createSignal("");
  const [answer, setAnswer] = createSignal("");
  const [route, setRoute] = createSignal<RouteReceipt>();
  const [end, setEnd] = createSignal<ChatEnd>();
  const [error, setError] = createSignal<Error>();
  const [running, setRunning] = createSignal<AbortController>();
  onCleanup(() => running()?.abort());

  const take = ({ piece }: ChatDelta) => {
    switch (piece.case) {
      case "text":
        setAnswer((before) => before + piece.value);
        return;
      case "route":
        setRoute(piece.value);
        return;
      case "end":
        setEnd(piece.value);
        return;
      case "toolCall":
      case undefined:
        return;
      default:
        piece satisfies never;
    }
  };
  const ask = async (event: SubmitEvent) => {
    event.preventDefault();
    if (input().trim() === "" || running() !== undefined) return;
    const own = new AbortController();
    setRunning(own);
    setAnswer("");
    setRoute(undefined);
    setEnd(undefined);
    setError(undefined);
    const policyOverride = toPolicy(override(), provider());
    const question = { input: input(), model: model(), ...(policyOverride && { policyOverride }) };
    try {
      await backend.call(async (client) => {
        for await (const delta of client.llm.stream(question, { signal: own.signal })) take(delta);
      });
    } catch (failure: unknown) {
      const isStopped = failure instanceof DevmeshApiError && own.signal.aborted;
      if (!isStopped) setError(failure instanceof Error ? failure : new Error(String(failure)));
    } finally {
      setRunning(undefined);
    }
  };

  return (
    <section class="panel prompt" aria-label="Ask a model">
      <h2>Ask a model</h2>
      <form class="form" onSubmit={(event) => void ask(event)}>
        <div class="pair">
          <label>
            Where
            <select
              value={override()}
              onChange={(event) => setChosen(overrideOf(event.currentTarget.value))}
            >
              <For each={Object.entries(overrideWords)}>
                {([name, words]) => <option value={name}>{words}</option>}
              </For>
            </select>
          </label>
          <label>
            Provider
            <select value={provider()} onChange={(event) => setProvider(event.currentTarget.value)}>
              <option value="">any</option>
              <For each={props.providers}>{({ name }) => <option value={name}>{name}</option>}</For>
            </select>
          </label>
        </div>
        <label>
          Model
          <select value={model()} onChange={(event) => setModel(event.currentTarget.value)}>
            <option value="">the role “chat”</option>
            <option value="coding">the role “coding”</option>
            <For each={props.models.filter(({ dimensions }) => dimensions === 0)}>
              {(each) => (
                <option value={`${each.provider}/${each.name}`}>
                  {each.provider}/{each.name}
                </option>
              )}
            </For>
          </select>
        </label>
        <label>
          Question
          <textarea
            rows="4"
            value={input()}
            onInput={(event) => setInput(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
                event.currentTarget.form?.requestSubmit();
              }
            }}
          />
        </label>
        <div class="actions">
          <Show when={running()}>
            {(own) => (
              <button type="button" onClick={() => own().abort()}>
                <Icon name="stop" />
                Stop
              </button>
            )}
          </Show>
          <button type="submit" class="primary" disabled={running() !== undefined}>
            Ask
          </button>
        </div>
      </form>
      <ErrorNote error={error()} />
      <Show when={route()}>
        {(receipt) => (
          <p class="receipt">
            <code>
              {receipt().provider}/{receipt().model}
            </code>{" "}
            <span class="tag">{receipt().local ? "local" : "cloud"}</span> {receipt().why}
            <For each={receipt().attempts}>
              {(attempt) => (
                <span class="muted">
                  {" "}
                  · tried {attempt.provider}: {attempt.message || attempt.reason}
                </span>
              )}
            </For>
          </p>
        )}
      </Show>
      <Show when={answer() !== ""}>
        <div class="answer" aria-live="polite" aria-busy={running() !== undefined}>
          {answer()}
        </div>
      </Show>
      <Show when={end()}>
        {(last) => (
          <p class="muted small">
            ended by {last().finishReason}; {formatCount(last().usage?.inputTokens ?? 0)} tokens in,{" "}
            {formatCount(last().usage?.outputTokens ?? 0)} out
            {last().usage?.exact === false ? ", estimated" : ""}
          </p>
        )}
      </Show>
    </section>
  );
}
