/** `devmesh ingest`. */
import { basename, isAbsolute, join, relative, sep } from "node:path";
import { type JsonValue, toJson } from "@bufbuild/protobuf";
import type { DocumentInput } from "@devmesh/sdk";
import { type DocumentSkip, walkDocuments } from "@devmesh/sdk/node";
import { IngestOutcomeSchema } from "@devmesh/sdk/raw";
import type { Command, CommandContext } from "../command.ts";
import { inline } from "../table.ts";
import { UsageError } from "../usage-error.ts";

/** The command. */
export const command: Command = {
  summary: "Adds files and folders to the memory, or updates them.",
  usage: "ingest [options] PATH…",
  options: {
    collection: { value: "C", help: "notes, code or runs (default: by file ending)" },
    metadata: { value: "K=V", multiple: true, help: "metadata; may be repeated" },
    "local-only": { help: "the text never leaves for a cloud provider" },
    "no-ignore": { help: "take what .gitignore names, too" },
  },
  notes:
    "Left out: VCS folders, node_modules, what .gitignore names, binary files, files\n" +
    "over 4 MiB, links that leave the folder; the reasons are told.",
  run: async (context) => {
    const { args, output, interrupts, devmesh } = context;
    if (args.positionals.length === 0) throw new UsageError("PATH is missing");
    const skips: DocumentSkip[] = [];
    const outcomes = await devmesh().context.ingest(readDocuments(context, skips), {
      signal: interrupts.signal,
    });
    const refused = outcomes.filter(({ state }) => state === "refused");
    if (output.json) {
      const skipped: JsonValue[] = skips.map(({ source, reason }) => ({ source, reason }));
      const rows = outcomes.map((outcome) => toJson(IngestOutcomeSchema, outcome));
      await output.document({ outcomes: rows, skipped });
    } else {
      for (const { source, reason } of skips)
        await output.talk(`left out ${inline(source)}: ${reason}`);
      for (const { source, reason, message } of refused) {
        await output.talk(`refused ${inline(source)}: ${reason} ${inline(message)}`);
      }
      await output.data(`${summarise(outcomes.map(({ state }) => state))}\n`);
    }
    return refused.length > 0 ? 1 : 0;
  },
};

async function* readDocuments(
  { args, interrupts }: CommandContext,
  skips: DocumentSkip[],
): AsyncGenerator<DocumentInput, void, undefined> {
  const collection = args.choice("collection", ["notes", "code", "runs"] as const);
  const shared = {
    metadata: args.pairs("metadata"),
    localOnly: args.flag("local-only"),
    ...(collection && { collection }),
  };
  const options = { signal: interrupts.signal, gitignore: !args.flag("no-ignore") };
  for (const path of args.positionals) {
    for await (const found of walkDocuments(path, options)) {
      const source = sourceName(path, found.source);
      if (found.kind === "skipped") skips.push({ ...found, source });
      else yield { ...shared, source, text: found.text };
    }
  }
}

/** A document's name: its path from the current folder, or from the named folder's own name. */
function sourceName(path: string, inner: string): string {
  const below = relative(process.cwd(), path);
  const isOutside = below.startsWith("..") || isAbsolute(below);
  const base = isOutside ? basename(path) : below;
  const isFile = basename(path) === inner;
  return (isFile ? base : join(base, inner)).split(sep).join("/");
}

function summarise(states: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const state of states) counts.set(state, (counts.get(state) ?? 0) + 1);
  const told = [...counts].map(([state, count]) => `${count} ${state}`).join(", ");
  return `${states.length} documents${told === "" ? "" : `: ${told}`}`;
}
