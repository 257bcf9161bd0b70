/** The whole chain of a server around small services, called in process: for tests of its parts. */
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createClient } from "@connectrpc/connect";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { anonymous, kSubject } from "@devmesh/mesh/context";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { AuditEntry, Authenticator } from "@devmesh/mesh/interceptors";
import { createLogger } from "@devmesh/mesh/log";
import { CountedIds, TestClock } from "@devmesh/mesh/runtime";
import { bindMethods, serve, serverInterceptors } from "@devmesh/mesh/server";
import { createInProcessTransport } from "@devmesh/mesh/transport";

/** One line that the chain wrote. */
export interface CallLine {
  readonly level: string;
  readonly msg: string;
  readonly rpc?: string;
  readonly actor?: string;
  readonly outcome?: string;
  readonly requestId?: string;
  readonly resource?: string;
  readonly detail?: string;
}

/** `Bearer runner` holds `run:jobs`, `Bearer reader` holds `read:agents`. */
export const tokens: Authenticator = {
  authenticate(header) {
    const shown = header.get("authorization");
    if (shown === null) return anonymous;
    const scopes = { "Bearer runner": "run:jobs", "Bearer reader": "read:agents" }[shown];
    if (scopes === undefined) throw new DevmeshError("UNAUTHENTICATED", "the token is unknown");
    const id = shown.slice(7);
    return { id, owner: id, scopes: new Set([scopes]), jobId: "" };
  },
};

/** What a test changes of the bed. */
export interface CallBedOptions {
  readonly clientInterceptors?: readonly Interceptor[];
  /** Runs in place of `DeleteSandbox`. */
  readonly deleteSandbox?: (id: string, signal: AbortSignal) => Promise<void> | void;
}

/** Services behind the chain, what it logged and what it audited. */
export function callBed(options: CallBedOptions = {}) {
  const lines: CallLine[] = [];
  const audited: AuditEntry[] = [];
  const logger = createLogger({
    service: "test",
    level: "debug",
    destination: { write: (text) => void lines.push(JSON.parse(text)) },
  });
  const interceptors = serverInterceptors({
    logger,
    clock: new TestClock(1_000),
    ids: new CountedIds(),
    audit: (entry) => void audited.push(entry),
    authenticator: tokens,
    requestTimeoutMs: 60_000,
  });
  const sandboxes = serve(SandboxService, {
    probeHost: () => ({ host: "here" }),
    listSandboxes: () => ({}),
    async deleteSandbox({ id }, context) {
      context.values.get(kSubject).resource = id;
      await options.deleteSandbox?.(id, context.signal);
      return {};
    },
  });
  const runners = serve(RunnerService, { heartbeat: () => ({}) } as never);
  const console = serve(TokenService, { redeemConsoleLink: () => ({}) } as never);
  const transport: Transport = createInProcessTransport({
    methods: bindMethods([sandboxes, runners, console], interceptors),
    interceptors: options.clientInterceptors ?? [],
  });
  return {
    lines,
    audited,
    transport,
    sandboxes: createClient(SandboxService, transport),
    runners: createClient(RunnerService, transport),
    tokens: createClient(TokenService, transport),
  };
}

/** The headers of a caller. */
export function as(token: string): { headers: Record<string, string> } {
  return { headers: { authorization: `Bearer ${token}` } };
}
