/** The screen that searches the memory and context plane. */
import type { Collection, SearchItem } from "@devmesh/sdk";
import { createEffect, createSignal, For, type JSX, on, Show } from "solid-js";
import { Chip } from "../../ui/chip.tsx";
import { Icon } from "../../ui/icon.tsx";
import { Empty, ErrorNote, Loading, Page, StaleNote } from "../../ui/page.tsx";
import { navigate, place, withQuery } from "../../ui/router.ts";
import { createLoad } from "../backend/load.ts";

const collections: readonly Collection[] = ["code", "notes", "runs"];

/** A search by keyword and by meaning, kept in the address. */
export function ContextPage(): JSX.Element {
  const [text, setText] = createSignal("");
  createEffect(
    on(
      () => place().query.get("q") ?? "",
      (q) => setText(q),
    ),
  );
  const found = createLoad({
    key: () => place().query.toString(),
    load: async (client, key, signal) => {
      const query = new URLSearchParams(key);
      const q = query.get("q") ?? "";
      if (q === "") return undefined;
      const chosen = collections.filter((name) => query.get("in") === name);
      return await client.context.search(q, { collections: chosen, topK: 20 }, { signal });
    },
  });
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    navigate(withQuery({ q: text().trim() }));
  };
  const isAsked = () => (place().query.get("q") ?? "") !== "";
  return (
    <Page title="Context" actions={<StaleNote when={found.isStale()} />}>
      <search>
        <form class="toolbar search-form" onSubmit={submit}>
          <input
            type="search"
            aria-label="Search the context"
            placeholder="Where are retries decided?"
            value={text()}
            onInput={(event) => setText(event.currentTarget.value)}
          />
          <label class="inline">
            In
            <select
              value={place().query.get("in") ?? ""}
              onChange={(event) => navigate(withQuery({ in: event.currentTarget.value }))}
            >
              <option value="">all collections</option>
              <For each={collections}>{(name) => <option value={name}>{name}</option>}</For>
            </select>
          </label>
          <button type="submit" class="primary">
            <Icon name="search" />
            Search
          </button>
        </form>
      </search>
      <ErrorNote error={found.error()} />
      <Show
        when={isAsked()}
        fallback={
          <Empty>
            <p>Ask in words. Keywords and meaning are searched together.</p>
          </Empty>
        }
      >
        <Show
          when={found.data()}
          fallback={
            <Show when={!found.error()}>
              <Loading />
            </Show>
          }
        >
          {(answer) => (
            <>
              <p class="receipt" role="status">
                {answer().items.length} {answer().items.length === 1 ? "result" : "results"},
                searched by {answer().receipt?.arms.join(" and ") || "nothing"}
                <Show when={answer().receipt?.embeddingModel}>
                  {(model) => (
                    <>
                      {" "}
                      with <code>{model()}</code>
                    </>
                  )}
                </Show>
              </p>
              <Show when={answer().receipt?.degraded}>
                {(why) => (
                  <p class="note tone-warn">
                    <Icon name="warning" />
                    <span>Only part of the search ran: {why()}</span>
                  </p>
                )}
              </Show>
              <ol class="results">
                <For each={answer().items}>{(item) => <Result item={item} />}</For>
              </ol>
            </>
          )}
        </Show>
      </Show>
    </Page>
  );
}

function Result(props: { readonly item: SearchItem }): JSX.Element {
  const lines = () => {
    const { startLine, endLine } = props.item;
    return startLine === endLine ? String(startLine) : `${startLine}–${endLine}`;
  };
  return (
    <li class="panel result">
      <header>
        <code class="source">
          {props.item.source}:{lines()}
        </code>
        <span class="muted">{props.item.title}</span>
        <span class="ranks">
          <span class="tag">{props.item.collection}</span>
          <Show when={props.item.keywordRank > 0}>
            <Chip
              look={{ icon: "search", word: `keyword #${props.item.keywordRank}`, tone: "neutral" }}
            />
          </Show>
          <Show when={props.item.vectorRank > 0}>
            <Chip
              look={{ icon: "target", word: `meaning #${props.item.vectorRank}`, tone: "active" }}
            />
          </Show>
        </span>
      </header>
      <section class="snippet" tabindex="0" aria-label={`Text of ${props.item.source}`}>
        <pre>{props.item.snippet}</pre>
      </section>
    </li>
  );
}
