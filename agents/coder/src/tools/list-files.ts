/** The tool `list_files`: what is below a folder. */
import { lstat, readlink } from "node:fs/promises";
import { errorText } from "../text.ts";
import type { Jail } from "./jail.ts";
import { statOf } from "./text-file.ts";
import { type Tool, ToolError } from "./tool.ts";
import { skippedFolders, type TreeEntry, walkTree } from "./tree.ts";

const maxEntries = 1000;

/** Makes the tool. */
export function createListFiles(jail: Jail): Tool {
  return {
    name: "list_files",
    description:
      "Lists everything below a folder, with the sizes of files in bytes. " +
      `At most ${maxEntries} entries; ${skippedFolders.join(", ")} are left out.`,
    parameters: {
      type: "object",
      properties: {
        path: { type: "string", description: "Relative to the work dir. Default: all of it." },
      },
      additionalProperties: false,
    },
    async run(args, { signal }) {
      const path = await jail.resolve(args.optionalText("path") || ".");
      if (!(await statOf(path)).isDirectory())
        throw new ToolError(`${path.shown}: is not a folder`);
      const prefix = path.shown === "." ? "" : `${path.shown}/`;
      const lines: string[] = [];
      for await (const entry of walkTree(path, signal, { prefix })) {
        if (lines.length === maxEntries) {
          lines.push(`[there are more than ${maxEntries} entries; list a folder of these]`);
          break;
        }
        lines.push(await lineOf(entry));
      }
      return lines.length === 0 ? `${path.shown}: is empty` : lines.join("\n");
    },
  };
}

async function lineOf({ path, file, kind }: TreeEntry): Promise<string> {
  try {
    switch (kind) {
      case "folder":
        return `${path}/`;
      case "link":
        return `${path} -> ${await readlink(file)}`;
      case "file":
        return `${path} (${(await lstat(file)).size})`;
      case "other":
        return `${path} (not a file)`;
      default:
        return kind satisfies never;
    }
  } catch (error) {
    return `${path} (${errorText(error)})`;
  }
}
