/** Tells who calls the backend: tokens, the deployment's services, and the dev bypass. */
import { anonymous, type Peer, type Principal } from "@devmesh/mesh/context";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Authenticator } from "@devmesh/mesh/interceptors";
import { allScopes } from "./scopes.ts";
import type { TokenWatch } from "./token-watch.ts";
import { type Tokens, unauthenticated } from "./tokens.ts";

/** What the authenticator needs. */
export interface ApiAuthenticatorOptions {
  readonly tokens: Tokens;
  /** Ends the streams of tokens that end. */
  readonly watch: TokenWatch;
  /** Checks the secret that the services of one deployment share. Absent: there is none. */
  readonly serviceToken: Authenticator | undefined;
  /** True: calls from this machine need no token. */
  readonly devBypass: boolean;
  /** Origins besides its own that the bypass answers. */
  readonly corsOrigins: readonly string[];
}

/** Secrets of tokens look so; anything else may be the services' secret. */
export const tokenPattern = /^dmj?_[A-Za-z0-9_-]+$/;

/** Makes the authenticator. */
export function apiAuthenticator(options: ApiAuthenticatorOptions): Authenticator {
  const { tokens, watch, serviceToken, devBypass, corsOrigins } = options;
  const scopes = new Set([allScopes, ...tokens.scopes]);
  const dev: Principal = { id: "dev", owner: "owner", scopes, jobId: "" };
  return {
    authenticate(header, peer) {
      const shown = header.get("authorization");
      if (shown === null) return devBypass ? bypass(dev, peer, corsOrigins) : anonymous;
      const secret = /^Bearer +(\S+)$/i.exec(shown)?.[1];
      if (secret !== undefined && tokenPattern.test(secret)) return tokens.authenticate(secret);
      if (secret !== undefined && serviceToken !== undefined) {
        return serviceToken.authenticate(header, peer);
      }
      throw unauthenticated();
    },
    watch: (principal) => watch.watch(principal),
  };
}

/**
 * The bypass answers only a caller on this machine, with no proxy between,
 * that asked for a loopback name (so a rebinding name gets nothing) and, if it
 * is a page, one of this server's own or of an allowed origin.
 */
function bypass(dev: Principal, peer: Peer, corsOrigins: readonly string[]): Principal {
  if (!isLoopbackAddress(peer.address) || peer.proxied) return anonymous;
  if (!isLoopbackHost(peer.host)) {
    throw new DevmeshError("ORIGIN_REFUSED", `Host: ${peer.host} is no name of this machine`, {
      metadata: { field: "Host" },
    });
  }
  const own = peer.origin === "" || peer.origin === `http://${peer.host}`;
  if (!own && !corsOrigins.includes(peer.origin)) {
    throw new DevmeshError("ORIGIN_REFUSED", `Origin: ${peer.origin} is not allowed`, {
      metadata: { field: "Origin" },
    });
  }
  return dev;
}

/** The other addresses of 127/8 are no caller's: sandboxes reach the backend from one of them. */
function isLoopbackAddress(address: string): boolean {
  return address === "::1" || /^(::ffff:)?127\.0\.0\.1$/.test(address);
}

function isLoopbackHost(host: string): boolean {
  return /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i.test(host);
}
