/**
 * Owns the way to the sandbox host on this machine: its private port, with the
 * secret that the services of one deployment share. The public API has no such calls.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Code, DevmeshApiError, type Reason } from "@devmesh/sdk";
import type { OptionTable } from "./args.ts";
import type { CommandContext } from "./command.ts";
import { dataFolder } from "./connection.ts";
import { UsageError } from "./usage-error.ts";

/** The option that all commands on a host share. */
export const hostOptions: OptionTable = {
  host: {
    value: "URL",
    help: "the sandbox host's private port (DEVMESH_HOST_URL; default that of the data folder's `up`)",
  },
};

/** A sandbox as its host tells it. */
export interface HostSandbox {
  readonly id: string;
  readonly driver: string;
  readonly jobId: string;
  readonly createTime?: string;
  readonly state: string;
}

/** Something that a sweep found. */
export interface HostLeftover {
  readonly kind: string;
  readonly name: string;
  readonly sandboxId?: string;
  readonly removed?: boolean;
  readonly detail?: string;
}

/** What a sweep answers. */
export interface HostSweep {
  readonly leftovers?: readonly HostLeftover[];
  readonly reapedSandboxes?: readonly string[];
  readonly removedTotal?: string;
}

const callLimitMs = 60_000;

/** The code of an answer, for the exit status. */
const codes: Readonly<Record<number, Code>> = {
  400: Code.InvalidArgument,
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  404: Code.NotFound,
  409: Code.FailedPrecondition,
  503: Code.Unavailable,
};

/** One call to the host. Throws `DevmeshApiError` with the remedy where it does not answer or refuses. */
export async function callHost(
  { args, env, interrupts }: Pick<CommandContext, "args" | "env" | "interrupts">,
  method: "GET" | "POST" | "DELETE",
  path: string,
  body?: object,
): Promise<Record<string, unknown>> {
  const base = args.text("host") ?? (env.DEVMESH_HOST_URL || hostOf(env));
  if (!URL.canParse(path, base)) throw new UsageError(`--host: ${JSON.stringify(base)} is no URL`);
  const token = serviceToken(env);
  let answer: Response;
  try {
    answer = await fetch(new URL(path, base), {
      method,
      signal: AbortSignal.any([interrupts.signal, AbortSignal.timeout(callLimitMs)]),
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { "content-type": "application/json" }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  } catch (error) {
    interrupts.signal.throwIfAborted();
    const why = error instanceof Error ? error.message : String(error);
    throw new DevmeshApiError(
      `no sandbox host answers at ${base}: ${why}; start one with \`devmesh up\` or ` +
        "`devmesh serve vm`, or name it with --host",
      { reason: "UNAVAILABLE", code: Code.Unavailable, cause: error },
    );
  }
  const told: unknown = await answer.json().catch(() => undefined);
  const value = typeof told === "object" && told !== null ? { ...told } : {};
  if (answer.ok) return value as Record<string, unknown>;
  const { detail = `HTTP ${answer.status}`, reason = "" } = value as Record<string, string>;
  const remedy = {
    401: "; run it as the user who runs the host, or set DEVMESH_SERVICE_TOKEN",
    404: "; `devmesh sandboxes` lists those that there are",
  }[answer.status];
  throw new DevmeshApiError(`${detail}${remedy ?? ""}`, {
    reason: (reason || "INTERNAL") as Reason,
    code: codes[answer.status] ?? Code.Unknown,
    fromServer: reason !== "",
  });
}

/** Where `up` left it in the data folder, or the default port of `serve vm`. */
function hostOf(env: CommandContext["env"]): string {
  return readLine(env, "host.url") ?? "http://127.0.0.1:7200";
}

/** `DEVMESH_SERVICE_TOKEN`, or the secret in the data folder. */
function serviceToken(env: CommandContext["env"]): string | undefined {
  return env.DEVMESH_SERVICE_TOKEN?.trim() || readLine(env, "service.token");
}

function readLine(env: CommandContext["env"], name: string): string | undefined {
  try {
    return readFileSync(join(dataFolder(env), name), "utf8").trim() || undefined;
  } catch {
    // No platform runs from this data folder.
    return undefined;
  }
}
