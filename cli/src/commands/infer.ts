/** `devmesh infer`. */
import { text as readAll } from "node:stream/consumers";
import { toJson } from "@bufbuild/protobuf";
import type { InferInput, RouteReceipt, Usage } from "@devmesh/sdk";
import { ChatDeltaSchema } from "@devmesh/sdk/raw";
import type { Command, CommandContext } from "../command.ts";
import { inline } from "../table.ts";
import { UsageError } from "../usage-error.ts";

/** The command. */
export const command: Command = {
  summary: "Asks a model and shows the answer as it is made.",
  usage: "infer [options] PROMPT",
  options: {
    model: { value: "MODEL", help: "provider/name, a name, or a role (default: chat)" },
    mode: { value: "MODE", help: "local-only, local-first or cloud-first" },
    provider: { value: "P", help: "only this provider" },
    "max-tokens": { value: "N", help: "most tokens to make" },
    temperature: { value: "T", help: "0 to 2" },
  },
  notes: "`-` as PROMPT reads it from stdin. With --json stdout carries one piece a line.",
  run: async (context) => {
    const { output, interrupts, devmesh } = context;
    const input = await readInput(context);
    let route: RouteReceipt | undefined;
    let usage: Usage | undefined;
    for await (const delta of devmesh().llm.stream(input, { signal: interrupts.signal })) {
      if (output.json) await output.document(toJson(ChatDeltaSchema, delta));
      const { piece } = delta;
      if (piece.case === "route") route = piece.value;
      else if (piece.case === "end") usage = piece.value.usage;
      else if (piece.case === "text" && !output.json) await output.data(piece.value);
    }
    if (!output.json) await output.data("\n");
    const who = route === undefined ? "" : inline(`${route.provider}/${route.model}: ${route.why}`);
    const took = usage === undefined ? "" : `, ${usage.inputTokens} + ${usage.outputTokens} tokens`;
    await output.talk(`${who}${took}`);
    return 0;
  },
};

async function readInput({ args }: CommandContext): Promise<InferInput> {
  const [prompt = ""] = args.words("PROMPT");
  const model = args.text("model");
  const mode = args.choice("mode", ["local-only", "local-first", "cloud-first"] as const);
  const provider = args.text("provider");
  const maxTokens = args.integer("max-tokens", 1, 1_000_000);
  const temperature = readTemperature(args.text("temperature"));
  return {
    input: prompt === "-" ? await readAll(process.stdin) : prompt,
    ...(model !== undefined && { model }),
    params: {
      ...(maxTokens !== undefined && { maxTokens }),
      ...(temperature !== undefined && { temperature }),
    },
    policyOverride: { ...(mode && { mode }), ...(provider !== undefined && { provider }) },
  };
}

function readTemperature(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() !== "" && value >= 0 && value <= 2) return value;
  throw new UsageError("--temperature: needs a number from 0 to 2");
}
