/** `devmesh runner install`: a runner on another machine, set up over ssh. */
import { readFileSync } from "node:fs";
import { AgentStatus } from "@devmesh/sdk";
import type { Command, CommandContext } from "../command.ts";
import { loadPlatform } from "../platform-door.ts";
import { readLabels } from "../runner-labels.ts";
import { checkJoinUrl } from "../runner-url.ts";
import { readSsh, type SshOptions, sshOptions } from "../ssh-options.ts";
import { UsageError } from "../usage-error.ts";

/** The command. */
export const command: Command = {
  summary: "Sets a runner up on another machine over ssh, and starts it.",
  usage: "runner install USER@HOST --join URL [options]",
  options: {
    join: { value: "URL", help: "the server as that machine reaches it" },
    ...sshOptions,
    labels: { value: "K=V,…", help: "what jobs may ask of that machine, with --on" },
    capacity: { value: "N", help: "how many jobs run at once (default: its processors)" },
    "token-file": { value: "FILE", help: "the runner's token (default: a new one for run:jobs)" },
  },
  notes:
    "It is put into ~/.local/share/devmesh-runner of that user, with a copy of Node\n" +
    "where there is none, and runs as a systemd unit of the user, or in the\n" +
    "background where there is no systemd. What fails leaves nothing behind.",
  run: async (context) => {
    const { args, output, env } = context;
    const target = readSsh(args, env);
    const url = args.text("join") ?? "";
    checkJoinUrl(url, args);
    const labels = args.text("labels") ?? "";
    if (labels !== "") readLabels("--labels", labels.split(","));
    const capacity = args.integer("capacity", 1, 1000);
    const platform = await loadPlatform();
    const token = await tokenOf(context, target);
    try {
      const installed = await platform.installRunner({
        ...{ target, url, labels, token: token.secret, tokenId: token.id },
        ...(capacity !== undefined && { capacity }),
        isAlive: async (id) => await isAlive(context, id),
        onStep: (text) => void output.talk(text),
        signal: context.interrupts.signal,
      });
      if (output.json) await output.document({ ...installed });
      else await output.data(`${installed.runnerId}\n`);
      await output.talk(`a runner on ${installed.host} takes jobs`);
      return 0;
    } catch (error) {
      // A token that nobody holds is not left to work.
      if (token.isNew) await context.devmesh().tokens.revoke(token.id);
      throw error;
    }
  },
};

interface RunnerToken {
  readonly id: string;
  readonly secret: string;
  readonly isNew: boolean;
}

async function tokenOf(context: CommandContext, { host }: SshOptions): Promise<RunnerToken> {
  const file = context.args.text("token-file");
  if (file !== undefined) return { id: "", secret: readToken(file), isNew: false };
  const input = { name: `runner ${host}`, scopes: ["run:jobs"] };
  const made = await context.devmesh().tokens.create(input, { signal: context.interrupts.signal });
  return { id: made.token.id, secret: made.secret, isNew: true };
}

function readToken(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    throw new UsageError(`--token-file: ${file} cannot be read`);
  }
}

async function isAlive({ devmesh, interrupts }: CommandContext, id: string): Promise<boolean> {
  const agents = await devmesh().agents.list({ signal: interrupts.signal });
  return agents.some((agent) => agent.id === id && agent.status === AgentStatus.ALIVE);
}
