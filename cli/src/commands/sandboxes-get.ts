/** `devmesh sandboxes get`. */
import type { JsonObject } from "@bufbuild/protobuf";
import type { Command } from "../command.ts";
import { callHost, hostOptions } from "../host-door.ts";
import { inline } from "../table.ts";

/** The command. */
export const command: Command = {
  summary: "Shows what the kernel holds a sandbox to, and what it uses.",
  usage: "sandboxes get ID",
  options: hostOptions,
  run: async (context) => {
    const { args, output } = context;
    const [id = ""] = args.words("ID");
    const { detail } = await callHost(context, "GET", `/v1/sandboxes/${encodeURIComponent(id)}`);
    const shown = (detail ?? {}) as JsonObject;
    if (output.json) await output.document(shown);
    else {
      for (const part of ["sandbox", "receipt", "stats"]) {
        for (const [name, value] of Object.entries((shown[part] ?? {}) as JsonObject)) {
          await output.data(`${part.padEnd(8)} ${name.padEnd(20)} ${textOf(value)}\n`);
        }
      }
    }
    return 0;
  },
};

/** A measured value stands with the place where the kernel showed it. */
function textOf(value: unknown): string {
  if (typeof value !== "object" || value === null) return inline(String(value), 200);
  if (!("source" in value) || !("value" in value)) return inline(JSON.stringify(value), 200);
  const { source, value: measured } = value;
  const text = typeof measured === "object" ? JSON.stringify(measured) : String(measured);
  return `${inline(text, 200)}  (${inline(String(source))})`;
}
