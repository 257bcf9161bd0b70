/** The tool `finish`: the model's word that the work is done. */
import { ArgumentError, type Tool } from "./tool.ts";

/** The name of the tool that ends the work. */
export const finishName = "finish";

/** The tool; what its summary leads to is left to the loop. */
export const finishTool: Tool = {
  name: finishName,
  description:
    "Ends the work. Call it once the task is done and proved, or when it cannot be done: " +
    "then say why.",
  parameters: {
    type: "object",
    properties: {
      summary: {
        type: "string",
        description: "What was wrong, what was changed, and how it was proved.",
      },
    },
    required: ["summary"],
    additionalProperties: false,
  },
  async run(args) {
    const summary = args.text("summary").trim();
    if (summary === "") throw new ArgumentError("summary: must not be empty");
    return summary;
  },
};
