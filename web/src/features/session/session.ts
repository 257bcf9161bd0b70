/** Owns who the user is: the token's keeping, the one-time link, signing in and out. */
import { type Devmesh, DevmeshApiError, type Token } from "@devmesh/sdk";
import { createSignal } from "solid-js";

/** How far signing in got. */
export type SessionState =
  | { readonly state: "opening" }
  | { readonly state: "in"; readonly who: Token }
  | { readonly state: "out"; readonly why: string };

const tokenKey = "devmesh.token";

/** The user's session. */
export interface Session {
  readonly state: () => SessionState;
  /** The token's secret, if there is one. */
  readonly token: () => string | undefined;
  /** Redeems the link in the address if there is one, then asks who the user is. */
  open(client: Devmesh): Promise<void>;
  /** Uses a token that the user gave. */
  signIn(client: Devmesh, secret: string): Promise<void>;
  /** Forgets the token. */
  signOut(why?: string): void;
}

/** Makes the session; `storage` keeps the token over reloads. */
export function createSession(storage: Storage): Session {
  const [state, setState] = createSignal<SessionState>({ state: "opening" });
  let secret = storage.getItem(tokenKey) ?? undefined;
  // Kept until it is redeemed or refused: the backend may be away just now.
  let link = takeLink();

  const keep = (next: string | undefined) => {
    secret = next;
    if (next === undefined) storage.removeItem(tokenKey);
    else storage.setItem(tokenKey, next);
  };
  const signOut = (why = "") => {
    keep(undefined);
    setState({ state: "out", why });
  };

  const redeem = async (client: Devmesh): Promise<string> => {
    if (link === undefined) return "";
    try {
      keep((await client.tokens.redeemLink(link)).secret);
      link = undefined;
      return "";
    } catch (error: unknown) {
      if (!(error instanceof DevmeshApiError) || !error.fromServer) throw error;
      link = undefined;
      return `The link did not work: ${error.message}.`;
    }
  };

  const open = async (client: Devmesh): Promise<void> => {
    const refusal = await redeem(client);
    try {
      setState({ state: "in", who: await client.tokens.whoami() });
    } catch (error: unknown) {
      if (!isUnauthenticated(error)) throw error;
      const lost =
        secret === undefined ? "" : "The token that was kept here is not valid any more.";
      signOut(refusal || lost);
    }
  };

  return {
    state,
    token: () => secret,
    open,
    signOut,
    signIn: async (client, given) => {
      keep(given);
      try {
        setState({ state: "in", who: await client.tokens.whoami() });
      } catch (error: unknown) {
        if (isUnauthenticated(error)) signOut("That token is not valid.");
        else keep(undefined);
        throw error;
      }
    },
  };
}

/** True if the backend does not know the caller. */
export function isUnauthenticated(error: unknown): boolean {
  return error instanceof DevmeshApiError && error.reason === "UNAUTHENTICATED";
}

/** The one-time secret of `#link=…`; the address is clean afterwards, history included. */
function takeLink(): string | undefined {
  const link = /^#link=(.+)$/.exec(location.hash)?.[1];
  if (link === undefined) return undefined;
  history.replaceState(null, "", location.pathname + location.search);
  return decodeURIComponent(link);
}
