/** `devmesh sandboxes sweep`. */
import type { Command } from "../command.ts";
import { callHost, type HostSweep, hostOptions } from "../host-door.ts";
import { formatTable, inline } from "../table.ts";

/** The command. */
export const command: Command = {
  summary: "Removes what sandboxes have left on this host and nobody owns.",
  usage: "sandboxes sweep [--dry-run]",
  options: { ...hostOptions, "dry-run": { help: "tell what would be removed, and touch nothing" } },
  notes: "The host does so by itself when it starts and every RECONCILE_INTERVAL_MS.",
  run: async (context) => {
    const { args, output } = context;
    args.words();
    const dryRun = args.flag("dry-run");
    const answer: HostSweep = await callHost(context, "POST", "/v1/host:reconcile", { dryRun });
    const { leftovers = [], reapedSandboxes = [], removedTotal = "0" } = answer;
    const stuck = leftovers.filter(({ removed = false }) => !removed && !dryRun);
    if (output.json) {
      const found = leftovers.map((row) => ({ ...row }));
      await output.document({
        ...{ dryRun, leftovers: found, reapedSandboxes: [...reapedSandboxes] },
        removedTotal: Number(removedTotal),
      });
    } else if (leftovers.length + reapedSandboxes.length === 0) {
      await output.talk("nothing was left");
    } else {
      const rows = leftovers.map(({ kind, name, removed = false, detail = "" }) => [
        kind,
        inline(name),
        removed ? "removed" : dryRun ? "there" : inline(detail),
      ]);
      const whole = reapedSandboxes.map((id) => ["sandbox", inline(id), "removed"]);
      await output.data(formatTable(["KIND", "NAME", ""], [...whole, ...rows]));
    }
    return stuck.length === 0 ? 0 : 1;
  },
};
