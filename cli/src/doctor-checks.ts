/** Owns what `doctor` looks at; every finding says what to do. */
import {
  type Agent,
  AgentStatus,
  type Capability,
  DevmeshApiError,
  isLoopbackHost,
  isolationName,
} from "@devmesh/sdk";
import type { CommandContext } from "./command.ts";
import { describeError } from "./error-report.ts";
import { callHost, type HostSweep } from "./host-door.ts";
import { inline } from "./table.ts";
import { version } from "./version.ts";

/** What one check found. */
export interface Finding {
  /** `url`, `token`, `version`, `part storage`, `runner h: process`, `console`. */
  readonly check: string;
  readonly state: "ok" | "warning" | "broken";
  readonly detail: string;
  /** What to do. Empty if all is well. */
  readonly remedy: string;
}

const ok = (check: string, detail: string): Finding => ({ check, state: "ok", detail, remedy: "" });

/** Runs every check; nothing is checked behind a server that does not answer. */
export async function checkAll(context: CommandContext): Promise<Finding[]> {
  const reach = await checkUrl(context);
  if (reach.state === "broken") return [reach];
  const token = await checkToken(context);
  if (token.state === "broken") return [reach, token, await checkConsole(context)];
  const rest = await Promise.all([
    checkSystem(context),
    checkRunners(context),
    checkLeftovers(context),
  ]);
  return [reach, token, ...rest.flat(), await checkConsole(context)];
}

async function checkUrl({ url, interrupts, devmesh }: CommandContext): Promise<Finding> {
  try {
    await devmesh().tokens.whoami({ signal: interrupts.signal, timeoutMs: 10_000 });
    return ok("url", `${url} answers`);
  } catch (error) {
    const isAnswer = error instanceof DevmeshApiError && error.fromServer;
    if (isAnswer) return ok("url", `${url} answers`);
    return broken("url", error, url);
  }
}

async function checkToken({ url, interrupts, devmesh }: CommandContext): Promise<Finding> {
  try {
    const token = await devmesh().tokens.whoami({ signal: interrupts.signal });
    return ok("token", `${token.id || "dev"} may ${token.scopes.join(" ") || "everything"}`);
  } catch (error) {
    return broken("token", error, url);
  }
}

async function checkSystem({ url, interrupts, devmesh }: CommandContext): Promise<Finding[]> {
  try {
    const system = await devmesh().system.get({ signal: interrupts.signal });
    const own = version();
    const differs: Finding = {
      check: "version",
      state: "warning",
      detail: `the server is ${inline(system.version)}, the command line ${own}`,
      remedy: "use the same version of both",
    };
    const same = system.version === own;
    const parts = system.parts.map(({ name, ok: isWell, detail }): Finding => {
      const check = `part ${inline(name)}`;
      if (isWell) return ok(check, inline(detail));
      const remedy = "the server's log has the cause";
      return { check, state: "broken", detail: inline(detail, 300), remedy };
    });
    return [same ? ok("version", own) : differs, ...parts];
  } catch (error) {
    return [broken("system", error, url)];
  }
}

async function checkRunners({ url, interrupts, devmesh }: CommandContext): Promise<Finding[]> {
  try {
    const agents = await devmesh().agents.list({ signal: interrupts.signal });
    const alive = agents.filter(({ status }) => status === AgentStatus.ALIVE);
    if (alive.length > 0) return alive.flatMap(checkRunner);
    const remedy = "start one with `devmesh serve vm`, or all with `devmesh up`";
    return [{ check: "runners", state: "broken", detail: "none is alive; jobs will wait", remedy }];
  } catch (error) {
    return [broken("runners", error, url)];
  }
}

function checkRunner({ host, capacity, running, capabilities }: Agent): Finding[] {
  const check = `runner ${inline(host)}`;
  const room = `${running} of ${capacity} jobs`;
  const tiers = capabilities.map((capability) => checkTier(check, capability));
  const mayGive = capabilities.some(({ available, pending }) => available || pending);
  if (mayGive) return [ok(check, room), ...tiers];
  const detail = `${room}, but it can give no isolation at all`;
  return [{ check, state: "broken", detail, remedy: "follow a remedy below" }, ...tiers];
}

function checkTier(runner: string, capability: Capability): Finding {
  const { driver, isolation, available, pending, engine, reason, remedy } = capability;
  const check = `${runner}: ${isolationName(isolation) ?? "unknown"} by ${inline(driver)}`;
  if (available) return ok(check, inline(engine) || "available");
  if (pending) {
    const again = "ask again in a minute";
    return { check, state: "warning", detail: "the probe still runs", remedy: again };
  }
  return { check, state: "warning", detail: inline(reason, 300), remedy: inline(remedy, 300) };
}

/** What a sweep of this host would remove; it is touched by nobody but the host itself. */
async function checkLeftovers(context: CommandContext): Promise<Finding[]> {
  // A server elsewhere has its hosts elsewhere.
  if (!isLocalUrl(context.url)) return [];
  const check = "leftovers";
  try {
    const sweep: HostSweep = await callHost(context, "POST", "/v1/host:reconcile", {
      dryRun: true,
    });
    const { leftovers = [], removedTotal = "0" } = sweep;
    const before = `${Number(removedTotal)} removed since the host's start`;
    if (leftovers.length === 0) return [ok(check, `nothing without an owner, ${before}`)];
    const named = leftovers.map(({ kind, name }) => `${kind} ${name}`).join("; ");
    const remedy = "`devmesh sandboxes sweep` removes it, as the next sweep does";
    return [{ check, state: "warning", detail: inline(`${named} (${before})`, 300), remedy }];
  } catch (error) {
    if (!(error instanceof DevmeshApiError)) throw error;
    const detail = `this host cannot be asked: ${inline(error.message, 300)}`;
    return [{ check, state: "warning", detail, remedy: "name it with --host" }];
  }
}

function isLocalUrl(url: string): boolean {
  return URL.canParse(url) && isLoopbackHost(new URL(url).hostname);
}

async function checkConsole({ url, interrupts }: CommandContext): Promise<Finding> {
  const remedy = "build the console, then start the server again";
  const missing: Finding = {
    check: "console",
    state: "warning",
    detail: "the server has no console to show",
    remedy,
  };
  if (url.startsWith("unix:")) return missing;
  try {
    const signal = AbortSignal.any([interrupts.signal, AbortSignal.timeout(10_000)]);
    const answer = await fetch(new URL("/", url), { signal, headers: { accept: "text/html" } });
    await answer.body?.cancel();
    const isPage = answer.ok && answer.headers.get("content-type")?.startsWith("text/html");
    return isPage ? ok("console", url) : missing;
  } catch (error) {
    return { ...broken("console", error, url), state: "warning" };
  }
}

function broken(check: string, error: unknown, url: string): Finding {
  const { message, reason, remedy } = describeError(error, url);
  return { check, state: "broken", detail: inline(`${message} [${reason}]`, 300), remedy };
}
