/** `devmesh runner`: this machine runs jobs of a server elsewhere. */
import { resolve } from "node:path";
import type { Args } from "../args.ts";
import type { Command, CommandContext } from "../command.ts";
import { loadPlatform, toExitCode } from "../platform-door.ts";
import { readLabels } from "../runner-labels.ts";
import { checkJoinUrl } from "../runner-url.ts";
import { UsageError } from "../usage-error.ts";

/** The command. */
export const command: Command = {
  summary: "Lets this machine run jobs of a server elsewhere; it dials out only.",
  usage: "runner --join URL [--token-file FILE] [options]",
  options: {
    join: { value: "URL", help: "the server; https:// where the way to it is not private" },
    "token-file": { value: "FILE", help: "read the token from a file (or DEVMESH_TOKEN, --token)" },
    labels: { value: "K=V,…", help: "what jobs may ask of this machine, with --on; up to 16" },
    capacity: {
      value: "N",
      help: "how many jobs run at once (default: the processors, 2 at least)",
    },
    "state-dir": {
      value: "DIR",
      help: "where sandboxes keep their files (default ~/.local/share/devmesh-runner)",
    },
    wait: { help: "wait for a server that cannot be reached yet" },
  },
  notes:
    "The token needs the scope run:jobs and nothing else:\n" +
    "  devmesh tokens create NAME --scope run:jobs\n" +
    "A signal gives the jobs back and ends it. A token that is revoked ends it with\n" +
    "status 3; its jobs run elsewhere once their leases are over.",
  run: async (context) => {
    context.args.words();
    const platform = await loadPlatform();
    return toExitCode(await platform.runRunner({ ...context.env, ...settingsOf(context) }));
  },
};

function settingsOf({ args, env }: CommandContext): Record<string, string> {
  const url = args.text("join") ?? "";
  checkJoinUrl(url, args);
  const labels = args.text("labels");
  if (labels !== undefined) readLabels("--labels", labels.split(","));
  const capacity = args.integer("capacity", 1, 1000);
  const stateDir = args.text("state-dir");
  return {
    API_URL: url,
    ...tokenOf(args, env),
    ...(labels !== undefined && { RUNNER_LABELS: labels }),
    ...(capacity !== undefined && { RUNNER_CAPACITY: String(capacity) }),
    ...(stateDir !== undefined && { DEVMESH_DATA_DIR: resolve(stateDir) }),
    ...(args.flag("wait") && { RUNNER_JOIN_WAIT: "true" }),
  };
}

function tokenOf(args: Args, env: CommandContext["env"]): Record<string, string> {
  const file = args.text("token-file");
  const token = args.text("token");
  // One named here stands for one of the environment.
  if (file !== undefined) return { DEVMESH_TOKEN: "", DEVMESH_TOKEN_FILE: resolve(file) };
  if (token !== undefined) return { DEVMESH_TOKEN: token.trim() };
  if (env.DEVMESH_TOKEN || env.DEVMESH_TOKEN_FILE) return {};
  throw new UsageError(
    "the token is missing",
    "name its file with --token-file; make one with `devmesh tokens create NAME --scope run:jobs`",
  );
}
