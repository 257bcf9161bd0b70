/** The real tools over one folder, for tests. */
import { Jail } from "../../agents/coder/src/tools/jail.ts";
import { programEnv } from "../../agents/coder/src/tools/run.ts";
import { type CallResult, Toolbox } from "../../agents/coder/src/tools/toolbox.ts";

/** Calls one tool. */
export type CallTool = (
  name: string,
  args: Readonly<Record<string, unknown>>,
  signal?: AbortSignal,
) => Promise<CallResult>;

/** Makes the tools of a folder. */
export async function toolsOf(
  folder: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<CallTool> {
  const toolbox = new Toolbox({ jail: await Jail.open(folder), env: programEnv(env) });
  return (name, args, signal = new AbortController().signal) =>
    toolbox.call({ id: "call_1", name, arguments: JSON.stringify(args) }, { signal });
}
