/** `devmesh sandboxes delete`. */
import type { Command } from "../command.ts";
import { callHost, hostOptions } from "../host-door.ts";

/** The command. */
export const command: Command = {
  summary: "Removes a sandbox with all that runs in it, from every state; its job fails.",
  usage: "sandboxes delete ID",
  options: hostOptions,
  run: async (context) => {
    const { args, output } = context;
    const [id = ""] = args.words("ID");
    await callHost(context, "DELETE", `/v1/sandboxes/${encodeURIComponent(id)}`);
    if (output.json) await output.document({ deleted: id });
    else await output.talk(`${id} is gone`);
    return 0;
  },
};
