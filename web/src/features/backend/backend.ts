/** Owns the way to the backend: every call goes through here, so that its state is known. */
import { type Devmesh, DevmeshApiError, type GetSystemResponse } from "@devmesh/sdk";
import { createContext, createSignal, useContext } from "solid-js";
import { backendUrl, createConsoleClient, openJobSocket } from "../../client.ts";
import { realClock } from "../../ui/clock.ts";
import { createSession, isUnauthenticated, type Session } from "../session/session.ts";
import { type Reach, Reachability } from "./reachability.ts";

/** The backend as screens see it. */
export interface Backend {
  readonly url: string;
  readonly session: Session;
  readonly reach: () => Reach;
  /** Rises each time the backend comes back; a signal. */
  readonly comebacks: () => number;
  /** What the backend last said of itself. */
  readonly system: () => GetSystemResponse | undefined;
  /** Runs calls of the client and learns from how they end. */
  call<T>(run: (client: Devmesh) => Promise<T>): Promise<T>;
  /** Opens a job's stream. */
  openStream(id: string, from: number): WebSocket;
  /** A stream broke: finds out whether the backend is away. */
  suspect(): void;
  /** Asks at once whether the backend is back. */
  tryNow(): void;
  /** Opens the session and keeps the backend watched. Answers what ends that. */
  start(): () => void;
}

/** Makes the way to the backend of this page. */
export function createBackend(): Backend {
  const url = backendUrl();
  const session = createSession(localStorage);
  const client = createConsoleClient(url, session.token);
  const [reach, setReach] = createSignal<Reach>({ state: "here" });
  const [comebacks, setComebacks] = createSignal(0);
  const [system, setSystem] = createSignal<GetSystemResponse>();

  const reachability = new Reachability({
    clock: realClock,
    random: Math.random,
    probe: () => client.tokens.whoami({ timeoutMs: 5_000 }).then(() => true, isAnswer),
    onChange: (next) => {
      const back = next.state === "here" && reach().state !== "here";
      setReach(next);
      if (!back) return;
      setComebacks((count) => count + 1);
      if (session.state().state === "opening") void open();
    },
  });

  const call = async <T>(run: (client: Devmesh) => Promise<T>): Promise<T> => {
    try {
      const answer = await run(client);
      reachability.answered();
      return answer;
    } catch (error: unknown) {
      if (isAnswer(error)) reachability.answered();
      else if (!isAborted(error)) reachability.failed();
      if (isUnauthenticated(error) && session.state().state === "in") {
        session.signOut("The session has ended.");
      }
      throw error;
    }
  };

  const open = async (): Promise<void> => {
    try {
      await call((client) => session.open(client));
      setSystem(await call((client) => client.system.get()));
    } catch (error: unknown) {
      // An absent backend shows as the banner, and opens when it is back; a token may lack
      // `read:system`, which only costs the defaults.
      if (!(error instanceof DevmeshApiError)) throw error;
    }
  };

  return {
    url,
    session,
    reach,
    comebacks,
    system,
    call,
    openStream: (id, from) => openJobSocket(url, session.token(), id, from),
    suspect: () => reachability.suspect(),
    tryNow: () => reachability.tryNow(),
    start: () => {
      void open();
      return onWake(() => reachability.tryNow());
    },
  };
}

/** Calls `wake` when the network or the page comes back. Answers what ends that. */
export function onWake(wake: () => void): () => void {
  const events = new AbortController();
  const options = { signal: events.signal };
  addEventListener("online", wake, options);
  addEventListener("offline", wake, options);
  document.addEventListener("visibilitychange", () => !document.hidden && wake(), options);
  return () => events.abort();
}

/** True if an error shows that the backend itself is there. */
function isAnswer(error: unknown): boolean {
  if (!(error instanceof DevmeshApiError)) return false;
  const isAway = error.reason === "UNAVAILABLE" || error.reason === "DEADLINE_EXCEEDED";
  if (error.fromServer) return error.reason !== "DRAINING";
  return !isAway && error.reason !== "CANCELLED";
}

function isAborted(error: unknown): boolean {
  return !(error instanceof DevmeshApiError) || error.reason === "CANCELLED";
}

const BackendContext = createContext<Backend>();

/** Hands the backend to the screens below. */
export const BackendProvider = BackendContext.Provider;

/** The backend. Throws outside of `BackendProvider`. */
export function useBackend(): Backend {
  const backend = useContext(BackendContext);
  if (backend === undefined) throw new Error("no BackendProvider above");
  return backend;
}
