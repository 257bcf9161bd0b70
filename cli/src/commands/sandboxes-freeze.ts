/** `devmesh sandboxes freeze`. */
import type { Command } from "../command.ts";
import { callHost, type HostSandbox, hostOptions } from "../host-door.ts";
import { inline } from "../table.ts";

/** The command. */
export const command: Command = {
  summary: "Stops everything in a sandbox where it stands; its job's time goes on.",
  usage: "sandboxes freeze ID",
  options: hostOptions,
  run: async (context) => {
    const { args, output } = context;
    const [id = ""] = args.words("ID");
    const path = `/v1/sandboxes/${encodeURIComponent(id)}:freeze`;
    const sandbox = (await callHost(context, "POST", path, {})).sandbox as HostSandbox;
    if (output.json) await output.document({ sandbox: { ...sandbox } });
    else await output.data(`${inline(sandbox.id)} ${inline(sandbox.state)}\n`);
    return 0;
  },
};
