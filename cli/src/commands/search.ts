/** `devmesh search`. */
import { toJson } from "@bufbuild/protobuf";
import { SearchContextResponseSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";
import { inline } from "../table.ts";

/** The command. */
export const command: Command = {
  summary: "Searches the memory by keyword and by meaning.",
  usage: "search [options] QUERY",
  options: {
    top: { value: "N", help: "how many items at most (default: 10)" },
    collection: { value: "C", multiple: true, help: "only notes, code or runs; may be repeated" },
    prefix: { value: "P", help: "only sources that start so" },
    metadata: { value: "K=V", multiple: true, help: "only documents with this metadata" },
  },
  run: async ({ args, output, paint, interrupts, devmesh }) => {
    const [query = ""] = args.words("QUERY");
    const topK = args.integer("top", 1, 100);
    const sourcePrefix = args.text("prefix");
    const found = await devmesh().context.search(
      query,
      {
        collections: args.choices("collection", ["notes", "code", "runs"] as const),
        metadata: args.pairs("metadata"),
        ...(topK !== undefined && { topK }),
        ...(sourcePrefix !== undefined && { sourcePrefix }),
      },
      { signal: interrupts.signal },
    );
    if (output.json) {
      await output.document(
        toJson(SearchContextResponseSchema, found, { alwaysEmitImplicit: true }),
      );
      return 0;
    }
    if (found.items.length === 0) await output.talk("nothing was found");
    for (const item of found.items) {
      const where = `${inline(item.source, 300)}:${item.startLine}-${item.endLine}`;
      const title = item.title === "" ? "" : ` ${inline(item.title)}`;
      await output.data(
        `${paint("bold", where)}${title} ${paint("grey", item.score.toFixed(4))}\n`,
      );
      await output.data(`  ${inline(item.snippet, 160)}\n`);
    }
    if (found.receipt?.degraded)
      await output.talk(`degraded: ${inline(found.receipt.degraded, 200)}`);
    return 0;
  },
};
