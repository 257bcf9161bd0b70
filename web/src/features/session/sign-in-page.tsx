/** The page of who is not signed in: how to get a link, and a field for a token. */
import { createSignal, type JSX, Show } from "solid-js";
import { ErrorNote, Page } from "../../ui/page.tsx";
import { useBackend } from "../backend/backend.ts";

/** How to get in. */
export function SignInPage(props: { readonly why: string }): JSX.Element {
  const backend = useBackend();
  const [secret, setSecret] = createSignal("");
  const [error, setError] = createSignal<Error>();
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setError(undefined);
    try {
      const given = secret().trim();
      await backend.call((client) => backend.session.signIn(client, given));
    } catch (failure: unknown) {
      setError(failure instanceof Error ? failure : new Error(String(failure)));
    }
  };
  return (
    <Page title="Sign in">
      <div class="sign-in">
        <Show when={props.why}>{(why) => <p class="note tone-warn">{why()}</p>}</Show>
        <section class="panel">
          <h2>Open the console with a link</h2>
          <p>On a machine that is logged in, run</p>
          <pre class="command">devmesh console</pre>
          <p class="muted">It makes a link that works once, within five minutes.</p>
        </section>
        <form class="panel form" onSubmit={(event) => void submit(event)}>
          <h2>Or use a token</h2>
          <label>
            Token
            <input
              class="code"
              type="password"
              autocomplete="current-password"
              required
              value={secret()}
              onInput={(event) => setSecret(event.currentTarget.value)}
            />
          </label>
          <ErrorNote error={error()} />
          <div class="actions">
            <button type="submit" class="primary">
              Sign in
            </button>
          </div>
        </form>
      </div>
    </Page>
  );
}
