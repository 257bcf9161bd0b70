/** Owns the form of a new job: what was typed, and the job that it means. */
import type { IsolationName, JobInput } from "@devmesh/sdk";
import { splitWords } from "../../ui/words.ts";

/** What the form holds. */
export interface JobDraft {
  readonly type: "command" | "agent";
  readonly command: string;
  /** True: the command is a script for `sh -c`. */
  readonly isScript: boolean;
  readonly task: string;
  readonly model: string;
  readonly testCommand: string;
  readonly isolation: IsolationName;
  /** Minutes, as typed. Empty: the server's default. */
  readonly timeoutMinutes: string;
}

/** The form when it is opened. */
export const emptyDraft: JobDraft = {
  type: "command",
  command: "",
  isScript: true,
  task: "",
  model: "",
  testCommand: "",
  isolation: "process",
  timeoutMinutes: "",
};

/** The job that a form means, or what is wrong with it. */
export function readDraft(draft: JobDraft): JobInput | { readonly problem: string } {
  const minutes = draft.timeoutMinutes.trim() === "" ? undefined : Number(draft.timeoutMinutes);
  if (minutes !== undefined && !(minutes > 0 && minutes <= 24 * 60)) {
    return { problem: "The time limit is a number of minutes, at most 1440." };
  }
  const conditions = {
    isolation: draft.isolation,
    ...(minutes !== undefined && { limits: { runTimeoutMs: Math.round(minutes * 60_000) } }),
  };
  if (draft.type === "agent") {
    if (draft.task.trim() === "") return { problem: "Say what the agent shall do." };
    const testArgv = splitWords(draft.testCommand);
    if (testArgv === undefined) return { problem: "A quote in the test command is left open." };
    const model = draft.model.trim();
    const agent = { task: draft.task, testArgv, ...(model !== "" && { model }) };
    return { ...conditions, agent };
  }
  if (draft.command.trim() === "") return { problem: "Write the command to run." };
  if (draft.isScript) return { ...conditions, command: ["sh", "-c", draft.command] };
  const command = splitWords(draft.command);
  if (command === undefined) return { problem: "A quote in the command is left open." };
  return { ...conditions, command };
}
