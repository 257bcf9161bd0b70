/**
 * Sets a runner up on another machine over ssh, and removes it. What fails
 * leaves nothing behind there; making and ending tokens is left to the caller.
 */
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import type { Presence } from "../join/join.ts";
import {
  aboutScript,
  checkScript,
  makeScript,
  presenceScript,
  probeScript,
  removeScript,
  roomScript,
  runFile,
  startScript,
} from "./remote-scripts.ts";
import { digestsOf, leastNodeMajor, programFiles, systemOfNode } from "./runner-program.ts";
import { SshHost, type SshTarget } from "./ssh-host.ts";

/** A runner to set up. */
export interface InstallOptions {
  readonly target: SshTarget;
  /** The backend as the other machine reaches it. */
  readonly url: string;
  /** A token with the scope `run:jobs`; it is written there, mode 0600. */
  readonly token: string;
  /** Kept beside it, for whoever removes the runner. Empty: unknown. */
  readonly tokenId: string;
  /** `zone=eu,gpu=a100`. Empty: none. */
  readonly labels: string;
  /** Absent: the machine's default. */
  readonly capacity?: number;
  readonly agentPath?: string;
  /** True once the backend lists this runner as alive. */
  readonly isAlive: (runnerId: string) => Promise<boolean>;
  /** Hears of each step. */
  readonly onStep: (text: string) => void;
  readonly signal: AbortSignal;
}

/** A runner that was set up. */
export interface Installed {
  readonly runnerId: string;
  readonly host: string;
}

/** What was removed. */
export interface Uninstalled {
  /** The token that the runner had. Empty: unknown. */
  readonly tokenId: string;
}

/** What the machine has. */
interface Machine {
  readonly home: string;
  readonly host: string;
  readonly system: string;
  /** The path of a Node that is new enough. Absent: ours is copied. */
  readonly node: string | undefined;
  readonly installed: boolean;
}

const joinTries = 24;
const aliveTries = 60;

/**
 * Installs a runner and waits until the backend hears it. Throws WRONG_STATE if
 * there is one already, and what ssh, the machine or the runner say.
 */
export async function installRunner(options: InstallOptions): Promise<Installed> {
  const { target, onStep, signal } = options;
  const ssh = await SshHost.connect(target);
  let made = false;
  try {
    const machine = await probe(ssh);
    onStep(`${machine.host}: ${machine.system}, ${machine.node ?? "Node is copied"}`);
    made = true;
    await must(ssh, makeScript, "its folder cannot be made");
    await copy(ssh, machine, options);
    signal.throwIfAborted();
    await must(ssh, startScript, "the runner cannot be started");
    onStep("started; waiting for it to join");
    const runnerId = await untilJoined(ssh, options);
    return { runnerId, host: machine.host };
  } catch (error) {
    if (made) await rollBack(ssh, options, error);
    throw error;
  } finally {
    ssh.close();
  }
}

/** Stops a runner, which gives its jobs back, and removes it. Throws NOT_FOUND if there is none. */
export async function uninstallRunner(target: SshTarget): Promise<Uninstalled> {
  const ssh = await SshHost.connect(target);
  try {
    const about = await ssh.run(aboutScript);
    if (about.code === 4) {
      throw new DevmeshError("NOT_FOUND", `there is no runner of devmesh on ${target.host}`, {
        metadata: { resource: "runner", id: target.host },
      });
    }
    await must(ssh, removeScript, "the runner cannot be removed");
    return { tokenId: /^tokenId=(.*)$/m.exec(about.out)?.[1] ?? "" };
  } finally {
    ssh.close();
  }
}

async function probe(ssh: SshHost): Promise<Machine> {
  const { out } = await must(ssh, probeScript, "the machine does not answer");
  const fact = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(out)?.[1] ?? "";
  const [home, system] = [fact("home"), fact("system")];
  if (!/^\/[A-Za-z0-9._/@+-]*$/.test(home)) {
    throw new DevmeshError(
      "INVALID_FIELD",
      `the home folder ${JSON.stringify(home)} is of no use`,
      {
        metadata: { field: "home" },
      },
    );
  }
  if (fact("installed") === "yes") {
    throw new DevmeshError(
      "WRONG_STATE",
      "a runner is installed there already: remove it first with `devmesh runner uninstall`",
      { metadata: { state: "installed" } },
    );
  }
  const [path = "", version = ""] = fact("node").split(" ");
  const isNew = Number(/^v(\d+)/.exec(version)?.[1] ?? 0) >= leastNodeMajor;
  if (!isNew && system !== systemOfNode()) {
    throw new DevmeshError(
      "UNAVAILABLE",
      `the machine is ${system}, and the Node of this one does not run there: install Node ${leastNodeMajor} or newer on it`,
      { metadata: { part: "node", system } },
    );
  }
  const node = isNew ? path : undefined;
  return { home, host: fact("host"), system, node, installed: false };
}

async function copy(ssh: SshHost, machine: Machine, options: InstallOptions): Promise<void> {
  const { url, token, tokenId, labels, capacity, agentPath, onStep, signal } = options;
  const folder = `${machine.home}/.local/share/devmesh-runner`;
  const program = `${folder}/program`;
  const files = await programFiles(agentPath, machine.node === undefined);
  try {
    for (const { path, name, mode } of files) {
      signal.throwIfAborted();
      onStep(`copying ${name}`);
      await ssh.putFile(path, `${program}/${name}`, mode, signal);
    }
    await ssh.putText(await digestsOf(files), `${program}/digests`, 0o600);
    await ssh.putText(`${token}\n`, `${folder}/token`, 0o600);
    const env = {
      API_URL: url,
      DEVMESH_TOKEN_FILE: `${folder}/token`,
      DEVMESH_DATA_DIR: `${folder}/state`,
      RUNNER_JOIN_WAIT: "true",
      RUNNER_LABELS: labels,
      RUNNER_NODE: machine.node ?? `${program}/node`,
      ...(capacity !== undefined && { RUNNER_CAPACITY: String(capacity) }),
      ...(agentPath !== undefined && { AGENT_PATH: `${program}/coder.mjs` }),
    };
    const lines = Object.entries(env).map(([name, value]) => `${name}='${value}'\n`);
    await ssh.putText(lines.join(""), `${folder}/env`, 0o600);
    await ssh.putText(`url=${url}\ntokenId=${tokenId}\n`, `${folder}/about`, 0o600);
    await ssh.putText(runFile, `${folder}/run.sh`, 0o700);
  } catch (error) {
    signal.throwIfAborted();
    throw await explainCopy(ssh, error);
  }
  await must(ssh, checkScript, "what was copied does not run there");
}

/** The protocol has one word for every failure of a disk: how much room is left tells more. */
async function explainCopy(ssh: SshHost, error: unknown): Promise<unknown> {
  if (toDevmeshError(error).reason !== "INTERNAL") return error;
  const text = error instanceof Error ? error.message : String(error);
  let room = "";
  try {
    room = (await ssh.run(roomScript)).out.trim();
  } catch {
    // The connection is gone too: the first error says enough.
  }
  const left = room === "" ? "" : `; ${Math.floor(Number(room) / 1024)} MiB are free there`;
  return new DevmeshError("UNAVAILABLE", `copying fails: ${text}${left}`, { cause: error });
}

/** The id under which the backend lists the runner. */
async function untilJoined(
  ssh: SshHost,
  { url, isAlive, signal }: InstallOptions,
): Promise<string> {
  let presence: Presence | undefined;
  for (let i = 0; presence === undefined; i++) {
    signal.throwIfAborted();
    // Each look waits for some seconds over there.
    const { code, out, err } = await ssh.run(presenceScript);
    if (code === 0) presence = JSON.parse(out) as Presence;
    else if (code === 3) {
      throw new DevmeshError("UNAVAILABLE", `the runner has ended: ${lastWords(err)}`);
    } else if (i === joinTries) {
      throw new DevmeshError("UNAVAILABLE", `the runner does not reach ${url} from there`);
    }
  }
  for (let i = 0; i < aliveTries; i++) {
    if (await isAlive(presence.id)) return presence.id;
    signal.throwIfAborted();
    await ssh.run("sleep 0.5");
  }
  throw new DevmeshError("UNAVAILABLE", `the backend does not list the runner ${presence.id}`);
}

/** The last line of its log that is for people. */
function lastWords(log: string): string {
  const lines = log.trim().split("\n");
  return lines.findLast((line) => line.startsWith("error: "))?.slice(7) ?? lines.at(-1) ?? "";
}

/** Removes what was made, over a new connection where the old one is gone. */
async function rollBack(ssh: SshHost, options: InstallOptions, error: unknown): Promise<void> {
  const { target, onStep } = options;
  onStep("it failed; removing what was made");
  for (let tries = 0; tries < 3; tries++) {
    let fresh: SshHost | undefined;
    try {
      if (tries > 0) fresh = await SshHost.connect(target);
      const { code } = await (fresh ?? ssh).run(removeScript);
      if (code === 0) return;
    } catch {
      // Tried again; in the end the caller is told.
    } finally {
      fresh?.close();
    }
  }
  const text = error instanceof Error ? error.message : String(error);
  throw new DevmeshError(
    "UNAVAILABLE",
    `${text}; and what was made on ${target.host} could not be removed: devmesh runner uninstall ${target.user}@${target.host}`,
    { cause: error },
  );
}

async function must(ssh: SshHost, script: string, failure: string) {
  const exit = await ssh.run(script);
  if (exit.code === 0) return exit;
  const said = exit.err.trim().split("\n").slice(-3).join("; ");
  throw new DevmeshError("UNAVAILABLE", `${failure}${said === "" ? "" : `: ${said}`}`);
}
