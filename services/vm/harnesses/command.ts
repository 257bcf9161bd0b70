/** Any program as an agent: it finds the models in its environment, and all that it writes is log. */
import { invalidField } from "@devmesh/mesh/errors";
import { type Harness, type HarnessReader, harnessPath } from "./harness.ts";

/** Stands for the task in an argument. */
const placeholder = "{task}";

/** The agent. */
export const command: Harness = {
  name: "command",
  isInstalled: false,
  tells: { steps: false, tokens: false },
  exec({ argv, task, prompt, model, baseUrl, token }) {
    if (argv.length === 0 || argv[0] === "") {
      throw invalidField("agent.harness_argv", "must name the program");
    }
    return {
      argv: argv.map((part) => part.replaceAll(placeholder, () => task)),
      env: {
        PATH: harnessPath,
        HOME: "/tmp",
        NO_PROXY: "127.0.0.1",
        OPENAI_BASE_URL: baseUrl,
        OPENAI_API_BASE: baseUrl,
        OPENAI_API_KEY: token,
        OPENAI_MODEL: model,
        DEVMESH_TASK: task,
        DEVMESH_PROMPT: prompt,
      },
    };
  },
  reader: (): HarnessReader => ({
    take: () => undefined,
    usage: { steps: 0, inputTokens: 0, outputTokens: 0 },
    report: (exitCode) => ({
      summary: "",
      finished: exitCode === 0,
      commands: [],
      message: exitCode === 0 ? "" : `the program ended with status ${exitCode}`,
    }),
  }),
};
