/** The tool `edit_file`: one exact, unique piece of a file's text for another. */
import type { Jail } from "./jail.ts";
import type { Protection } from "./protection.ts";
import { readText, writeText } from "./text-file.ts";
import { ArgumentError, type Tool, ToolError } from "./tool.ts";

/** Makes the tool. */
export function createEditFile(jail: Jail, protection: Protection): Tool {
  return {
    name: "edit_file",
    mayChange: true,
    description:
      "Replaces oldText by newText in a file. oldText must be in the file exactly once, " +
      "with the same spaces and line ends and without line numbers: take in lines around it " +
      "until it is unique.",
    parameters: {
      type: "object",
      properties: {
        path: { type: "string", description: "Relative to the work dir." },
        oldText: { type: "string", description: "What is there now." },
        newText: { type: "string", description: "What shall be there. Empty: nothing." },
      },
      required: ["path", "oldText", "newText"],
      additionalProperties: false,
    },
    async run(args) {
      const wanted = args.text("path");
      const oldText = args.text("oldText");
      const newText = args.text("newText");
      if (oldText === "") throw new ArgumentError("oldText: must not be empty; use write_file");
      const path = await jail.resolve(wanted);
      protection.check(path);
      const before = await readText(path);
      const at = uniquePlace(before, oldText, path.shown);
      if (oldText === newText) throw new ToolError("oldText and newText are the same");
      const after = before.slice(0, at) + newText + before.slice(at + oldText.length);
      await writeText(path, after);
      const line = lineAt(before, at);
      return `${path.shown}: changed at line ${line}; the new lines:\n${around(after, line, newText)}`;
    },
  };
}

/** Where the text is. Throws `ToolError` if it is nowhere, or in more than one place. */
function uniquePlace(text: string, wanted: string, shown: string): number {
  const first = text.indexOf(wanted);
  if (first < 0) throw new ToolError(`${shown}: oldText is not in the file${hint(text, wanted)}`);
  const second = text.indexOf(wanted, first + 1);
  if (second < 0) return first;
  const lines = `${lineAt(text, first)} and ${lineAt(text, second)}`;
  throw new ToolError(
    `${shown}: oldText is in more than one place (lines ${lines}); take in more lines around it`,
  );
}

/** The likeliest mistake of a text that does not match. */
function hint(text: string, wanted: string): string {
  if (text.includes("\r\n") && text.replaceAll("\r\n", "\n").includes(wanted)) {
    return "; its lines end in \\r\\n";
  }
  const bare = wanted.replaceAll(/^\d+: /gm, "");
  if (bare !== wanted && text.includes(bare)) return "; leave out the line numbers";
  if (text.replaceAll(/\s+/g, " ").includes(wanted.replaceAll(/\s+/g, " "))) {
    return "; only spaces or line ends differ";
  }
  return "; read it again and copy the text exactly";
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}

/** The changed lines with one line before and after them, numbered. */
function around(text: string, line: number, newText: string): string {
  const last = line + newText.split("\n").length;
  const lines = text.split("\n").slice(Math.max(0, line - 2), Math.min(last, line + 20));
  return lines.map((content, index) => `${Math.max(1, line - 1) + index}: ${content}`).join("\n");
}
