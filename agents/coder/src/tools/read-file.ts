/** The tool `read_file`: a file's text with line numbers. */
import { cutBytes } from "../text.ts";
import type { Jail } from "./jail.ts";
import { readText } from "./text-file.ts";
import { type Tool, ToolError } from "./tool.ts";

const maxLines = 1000;
const maxLineBytes = 1000;
const maxResultBytes = 48 * 1024;

/** Makes the tool. */
export function createReadFile(jail: Jail): Tool {
  return {
    name: "read_file",
    description:
      "Reads a text file. Every line comes as `<number>: <text>`; the number is not part of the file. " +
      `At most ${maxLines} lines at once: give startLine and endLine for more.`,
    parameters: {
      type: "object",
      properties: {
        path: { type: "string", description: "Relative to the work dir." },
        startLine: { type: "integer", minimum: 1, description: "First line. Default: 1." },
        endLine: { type: "integer", minimum: 1, description: "Last line, included." },
      },
      required: ["path"],
      additionalProperties: false,
    },
    async run(args) {
      const path = await jail.resolve(args.text("path"));
      const start = args.optionalCount("startLine") ?? 1;
      const end = args.optionalCount("endLine") ?? Number.MAX_SAFE_INTEGER;
      if (end < start) throw new ToolError(`endLine ${end} is before startLine ${start}`);
      const lines = linesOf(await readText(path));
      if (lines.length === 0) return `${path.shown}: is empty`;
      if (start > lines.length) {
        throw new ToolError(`${path.shown}: has ${lines.length} lines; startLine is ${start}`);
      }
      return numbered(lines, start, Math.min(end, lines.length));
    },
  };
}

/** The lines of a text; a line end at its end begins no further line. */
function linesOf(text: string): string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

function numbered(lines: readonly string[], start: number, end: number): string {
  const shown: string[] = [];
  let bytes = 0;
  for (let number = start; number <= end; number++) {
    const line = lines[number - 1] ?? "";
    const cut = cutBytes(line, maxLineBytes);
    const text = `${number}: ${cut}${cut.length < line.length ? " […]" : ""}`;
    bytes += Buffer.byteLength(text) + 1;
    if (shown.length === maxLines || bytes > maxResultBytes) {
      shown.push(`[lines ${number} to ${lines.length} are not shown; use startLine]`);
      return shown.join("\n");
    }
    shown.push(text);
  }
  if (end < lines.length) shown.push(`[the file has ${lines.length} lines]`);
  return shown.join("\n");
}
