/** `devmesh sandboxes`. */
import type { Command } from "../command.ts";
import { callHost, type HostSandbox, hostOptions } from "../host-door.ts";
import { formatTable, inline } from "../table.ts";

/** The command. */
export const command: Command = {
  summary: "Lists the sandboxes of this host.",
  usage: "sandboxes",
  options: hostOptions,
  run: async (context) => {
    const { args, output } = context;
    args.words();
    const answer = await callHost(context, "GET", "/v1/sandboxes");
    const sandboxes = (answer.sandboxes ?? []) as readonly HostSandbox[];
    if (output.json) await output.document({ sandboxes: sandboxes.map((row) => ({ ...row })) });
    else if (sandboxes.length === 0) await output.talk("no sandboxes");
    else {
      const rows = sandboxes.map(({ id, driver, state, jobId, createTime = "" }) =>
        [id, driver, state, jobId, createTime].map((text) => inline(text)),
      );
      await output.data(formatTable(["ID", "DRIVER", "STATE", "JOB", "CREATED"], rows));
    }
    return 0;
  },
};
