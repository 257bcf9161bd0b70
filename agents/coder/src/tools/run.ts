/** The tool `run`: a program in the work dir. */
import { constants } from "node:os";
import { printable } from "../text.ts";
import type { Jail } from "./jail.ts";
import { type ProgramEnd, runProgram } from "./program.ts";
import type { Tool } from "./tool.ts";

/** What the programs get. */
export interface RunOptions {
  readonly jail: Jail;
  /** Their environment: the agent's own without what is meant for the agent alone. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

const defaultTimeoutSeconds = 120;
const maxTimeoutSeconds = 900;
const maxOutputBytes = 16 * 1024;

/** Variables that tell the agent who it is; the programs it runs must not get them. */
const ownVariables = /^(DEVMESH_.*|BACKEND_URL|MCP_URL|OLLAMA_BASE_URL)$/;

/** The environment for programs: without the agent's token and addresses. */
export function programEnv(
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !ownVariables.test(name)));
}

/** Makes the tool. */
export function createRun({ jail, env }: RunOptions): Tool {
  return {
    name: "run",
    mayChange: true,
    description:
      "Runs a program in the work dir and waits for its end: tests, builds, one-off scripts. " +
      "No shell in between and no input. Of long output the head and the tail are shown. " +
      "What it leaves running in the background ends with it.",
    parameters: {
      type: "object",
      properties: {
        argv: {
          type: "array",
          items: { type: "string" },
          minItems: 1,
          description: 'The program and its arguments, for example ["node", "--test"].',
        },
        timeoutSeconds: {
          type: "integer",
          minimum: 1,
          maximum: maxTimeoutSeconds,
          description: `When it is killed. Default: ${defaultTimeoutSeconds}.`,
        },
      },
      required: ["argv"],
      additionalProperties: false,
    },
    async run(args, { signal }) {
      const argv = args.texts("argv");
      const seconds = Math.min(
        args.optionalCount("timeoutSeconds") ?? defaultTimeoutSeconds,
        maxTimeoutSeconds,
      );
      const begin = performance.now();
      const end = await runProgram({
        argv,
        cwd: jail.root,
        env,
        timeoutMs: seconds * 1000,
        maxBytes: maxOutputBytes,
        signal,
      });
      const output = printable(end.output).trimEnd();
      return {
        text: `${endText(end, seconds)}\n${output === "" ? "(no output)" : output}`,
        command: {
          line: argv.map(quoted).join(" "),
          exitCode: exitCodeOf(end),
          ms: Math.round(performance.now() - begin),
        },
      };
    },
  };
}

function endText({ status, endedBy, timedOut }: ProgramEnd, seconds: number): string {
  if (timedOut) return `killed after ${seconds} s, the time limit`;
  return status === undefined ? `ended by ${endedBy}` : `exit status ${status}`;
}

function exitCodeOf({ status, endedBy }: ProgramEnd): number {
  if (status !== undefined) return status;
  return 128 + (endedBy in constants.signals ? constants.signals[endedBy as NodeJS.Signals] : 0);
}

/** The argument as a shell would want it. */
function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}
