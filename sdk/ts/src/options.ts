/** Owns what a client and a single call can be told, and the rules on base URL and token. */
import type { Interceptor, Transport } from "@connectrpc/connect";
import type { RetryPolicy } from "./backoff.ts";
import { DevmeshConfigError } from "./errors.ts";
import type { CreateSha256 } from "./sha256.ts";

/** What a transport is made from; the interceptors authenticate and retry. */
export interface TransportSetup {
  readonly baseUrl: string;
  readonly interceptors: Interceptor[];
}

/** Where devmesh is and how to talk to it. */
export interface DevmeshOptions {
  /** The server, for example `http://127.0.0.1:8080`. A path behind the host is kept. */
  readonly baseUrl: string;
  /**
   * The token's secret, or a function that is asked before each call. Default:
   * none. Without `insecure` it travels over HTTPS, to a loopback host or
   * through a Unix socket only.
   */
  readonly token?: string | (() => string | undefined | Promise<string | undefined>);
  /** True: send the token over plain HTTP to any host. Default: false. */
  readonly insecure?: boolean;
  /**
   * Makes the transport; for tests and unusual runtimes. A ready `Transport`
   * is used as it is, without authentication and retries.
   */
  readonly transport?: Transport | ((setup: TransportSetup) => Transport);
  /** Total time of a unary call with all its retries, in milliseconds. Default: 60,000. */
  readonly timeoutMs?: number;
  /** How calls are tried again. Default: 2 retries. */
  readonly retry?: Partial<RetryPolicy>;
  /** Makes incremental SHA-256; for runtimes that have a native one. */
  readonly createSha256?: CreateSha256;
}

/** What a single call can be told. */
export interface CallOptions {
  /** Ends the call, and any wait before a retry. */
  readonly signal?: AbortSignal;
  /** Total time of the call with all its retries, in milliseconds. 0: no limit. */
  readonly timeoutMs?: number;
  /** Headers to add. */
  readonly headers?: Record<string, string>;
}

/** Refuses a base URL that is not one; answers it without a slash at its end. */
export function checkBaseUrl(baseUrl: string): string {
  if (baseUrl.startsWith("unix:")) return baseUrl;
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new DevmeshConfigError(
      `baseUrl: ${JSON.stringify(baseUrl)} is not an http or https URL; write for example http://127.0.0.1:8080`,
    );
  }
  if (url.username !== "" || url.password !== "") {
    throw new DevmeshConfigError("baseUrl: must not hold a user name or password; use `token`");
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
}

/** Refuses to send a token where others can read it. */
export function checkTokenIsSafe(baseUrl: string, insecure: boolean): void {
  if (insecure || baseUrl.startsWith("unix:")) return;
  const url = new URL(baseUrl);
  if (url.protocol === "https:" || isLoopbackHost(url.hostname)) return;
  throw new DevmeshConfigError(
    `the token would travel unencrypted to ${url.host}; use https, or allow it with \`insecure: true\``,
  );
}

/** True for `localhost`, 127.0.0.0/8 and ::1. */
export function isLoopbackHost(hostname: string): boolean {
  return (
    hostname === "localhost" ||
    hostname.endsWith(".localhost") ||
    hostname === "[::1]" ||
    /^127(\.\d{1,3}){3}$/.test(hostname)
  );
}
