/** The tool `write_file`: a whole file, new or over an old one. */
import { makeParents } from "./inside.ts";
import type { Jail } from "./jail.ts";
import type { Protection } from "./protection.ts";
import { writeText } from "./text-file.ts";
import { type Tool, ToolError } from "./tool.ts";

/** Makes the tool. */
export function createWriteFile(jail: Jail, protection: Protection): Tool {
  return {
    name: "write_file",
    mayChange: true,
    description:
      "Writes a whole file and makes the folders above it. What was there is replaced: " +
      "use edit_file to change a part of a file.",
    parameters: {
      type: "object",
      properties: {
        path: { type: "string", description: "Relative to the work dir." },
        content: { type: "string", description: "All of the file's text." },
      },
      required: ["path", "content"],
      additionalProperties: false,
    },
    async run(args) {
      const wanted = args.text("path");
      const content = args.text("content");
      if (wanted.endsWith("/")) throw new ToolError(`${wanted}: names a folder, not a file`);
      const path = await jail.resolve(wanted);
      protection.check(path);
      await makeParents(path);
      await writeText(path, content);
      const bytes = Buffer.byteLength(content);
      return `${path.shown}: ${path.exists ? "replaced" : "written"}, ${bytes} bytes`;
    },
  };
}
