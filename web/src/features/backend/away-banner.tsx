/** Says plainly that the backend does not answer, and when it is asked again. */
import { type JSX, Show } from "solid-js";
import { Icon } from "../../ui/icon.tsx";
import { createNow } from "../../ui/time.tsx";
import { useBackend } from "./backend.ts";

/** The banner; nothing while the backend answers. */
export function AwayBanner(): JSX.Element {
  const backend = useBackend();
  return (
    <Show when={backend.reach().state !== "here"}>
      <div class="banner">
        <Icon name="warning" />
        {/* The seconds are not read aloud, only that the backend is away. */}
        <span class="visually-hidden" role="alert">
          The backend at {backend.url} does not answer.
        </span>
        <span aria-hidden="true">
          The backend at {backend.url} does not answer; <NextTry />
        </span>
        <button type="button" onClick={() => backend.tryNow()}>
          Try now
        </button>
      </div>
    </Show>
  );
}

function NextTry(): JSX.Element {
  const backend = useBackend();
  const now = createNow();
  return <>{words()}</>;

  function words(): string {
    const reach = backend.reach();
    if (reach.state !== "away") return "trying now";
    const seconds = Math.max(1, Math.ceil((reach.nextTryMs - now()) / 1_000));
    return `trying again in ${seconds} s`;
  }
}
