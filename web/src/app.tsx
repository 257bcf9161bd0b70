/** The console's frame: navigation, the backend's state, and the screen of the current address. */
import { createEffect, For, type JSX, Match, onCleanup, Show, Switch } from "solid-js";
import { AuditPage } from "./features/audit/audit-page.tsx";
import { AwayBanner } from "./features/backend/away-banner.tsx";
import { BackendProvider, createBackend, useBackend } from "./features/backend/backend.ts";
import { ContextPage } from "./features/context/context-page.tsx";
import { JobPage } from "./features/jobs/job-page.tsx";
import { JobsPage } from "./features/jobs/jobs-page.tsx";
import { NewJobPage } from "./features/jobs/new-job-page.tsx";
import { ModelsPage } from "./features/models/models-page.tsx";
import { RunnersPage } from "./features/runners/runners-page.tsx";
import { SignInPage } from "./features/session/sign-in-page.tsx";
import { SystemPage } from "./features/system/system-page.tsx";
import { Icon } from "./ui/icon.tsx";
import { Empty, Loading, Page } from "./ui/page.tsx";
import { place, startRouter } from "./ui/router.ts";

const screens = [
  { path: "/jobs", label: "Jobs" },
  { path: "/context", label: "Context" },
  { path: "/models", label: "Models" },
  { path: "/runners", label: "Runners" },
  { path: "/audit", label: "Audit" },
  { path: "/system", label: "Health" },
] as const;

/** The console. */
export function App(): JSX.Element {
  const backend = createBackend();
  onCleanup(startRouter());
  onCleanup(backend.start());
  return (
    <BackendProvider value={backend}>
      <a class="skip" href="#content">
        Skip to the content
      </a>
      <Header />
      <AwayBanner />
      <Body />
    </BackendProvider>
  );
}

function isAt(path: string): boolean {
  const now = place().path === "/" ? "/jobs" : place().path;
  return now === path || now.startsWith(`${path}/`);
}

function Header(): JSX.Element {
  const backend = useBackend();
  const isIn = () => backend.session.state().state === "in";
  createEffect(() => {
    const label = screens.find(({ path }) => isAt(path))?.label;
    const job = /^\/jobs\/(job_.+)$/.exec(place().path)?.[1];
    document.title = [job ?? label, "devmesh"].filter(Boolean).join(" · ");
  });
  return (
    <header class="top">
      <a class="brand" href="/jobs">
        <img src="/icon.svg" alt="" width="20" height="20" />
        devmesh
      </a>
      <Show when={isIn()}>
        <nav aria-label="Screens">
          <For each={screens}>
            {({ path, label }) => (
              <a href={path} aria-current={isAt(path) ? "page" : undefined}>
                {label}
              </a>
            )}
          </For>
        </nav>
      </Show>
      <div class="actions">
        <span class={`live-state is-${backend.reach().state === "here" ? "live" : "reconnecting"}`}>
          <i class="dot" />
          {backend.reach().state === "here" ? "connected" : "away"}
        </span>
        <Show when={backend.system()}>
          {(system) => <span class="muted">{system().version}</span>}
        </Show>
        <Show when={isIn() && backend.session.token() !== undefined}>
          <button
            type="button"
            class="bare icon-only"
            aria-label="Sign out"
            title="Sign out"
            onClick={() => backend.session.signOut()}
          >
            <Icon name="logout" />
          </button>
        </Show>
      </div>
    </header>
  );
}

function Body(): JSX.Element {
  const { session } = useBackend();
  const why = () => {
    const state = session.state();
    return state.state === "out" ? state.why : "";
  };
  return (
    <Switch>
      <Match when={session.state().state === "opening"}>
        <Page title="devmesh">
          <Loading />
        </Page>
      </Match>
      <Match when={session.state().state === "out"}>
        <SignInPage why={why()} />
      </Match>
      <Match when={session.state().state === "in"}>
        <Screen />
      </Match>
    </Switch>
  );
}

function Screen(): JSX.Element {
  const path = () => place().path;
  const jobId = () => /^\/jobs\/([^/]+)$/.exec(path())?.[1];
  return (
    <Switch fallback={<NotFound />}>
      <Match when={path() === "/" || path() === "/jobs"}>
        <JobsPage />
      </Match>
      <Match when={path() === "/jobs/new"}>
        <NewJobPage />
      </Match>
      <Match when={jobId()} keyed>
        {(id) => <JobPage id={decodeURIComponent(id)} />}
      </Match>
      <Match when={path() === "/context"}>
        <ContextPage />
      </Match>
      <Match when={path() === "/models"}>
        <ModelsPage />
      </Match>
      <Match when={path() === "/runners"}>
        <RunnersPage />
      </Match>
      <Match when={path() === "/audit"}>
        <AuditPage />
      </Match>
      <Match when={path() === "/system"}>
        <SystemPage />
      </Match>
    </Switch>
  );
}

function NotFound(): JSX.Element {
  return (
    <Page title="Not here">
      <Empty>
        <p>The console has no screen at this address.</p>
        <a class="button" href="/jobs">
          To the jobs
        </a>
      </Empty>
    </Page>
  );
}
