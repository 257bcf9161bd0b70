/** Owns what all screens share: heading, notices, what stands where nothing is. */
import { type JSX, onMount, Show } from "solid-js";
import { Icon } from "./icon.tsx";

/** A screen with its heading. Moving to it moves the focus there. */
export function Page(props: {
  readonly title: string;
  /** What stands in the heading's place. Default: the title. */
  readonly heading?: JSX.Element;
  readonly actions?: JSX.Element;
  readonly children: JSX.Element;
}): JSX.Element {
  let heading: HTMLHeadingElement | undefined;
  onMount(() => {
    // The first screen leaves the focus where the browser puts it.
    if (document.activeElement !== document.body || history.length > 1) {
      heading?.focus({ preventScroll: true });
    }
  });
  return (
    <main class="page" id="content">
      <header class="page-head">
        <h1 ref={heading} tabindex="-1">
          {props.heading ?? props.title}
        </h1>
        <div class="actions">{props.actions}</div>
      </header>
      {props.children}
    </main>
  );
}

/** Why something did not work. */
export function ErrorNote(props: { readonly error: Error | undefined }): JSX.Element {
  return (
    <Show when={props.error}>
      {(error) => (
        <p class="note tone-bad" role="alert">
          <Icon name="warning" />
          <span>{error().message}</span>
        </p>
      )}
    </Show>
  );
}

/** Tells that what is shown may be out of date. */
export function StaleNote(props: { readonly when: boolean }): JSX.Element {
  return (
    <Show when={props.when}>
      <span class="stale">
        <Icon name="clock" />
        may be out of date
      </span>
    </Show>
  );
}

/** What stands where nothing is. */
export function Empty(props: { readonly children: JSX.Element }): JSX.Element {
  return <div class="empty">{props.children}</div>;
}

/** Bars where text will be. */
export function Loading(): JSX.Element {
  return (
    <div class="loading">
      <span class="visually-hidden" role="status">
        Loading
      </span>
      <i />
      <i />
      <i />
    </div>
  );
}
