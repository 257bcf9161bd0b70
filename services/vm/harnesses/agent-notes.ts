/** What readers of agents' events tell in one form, whichever agent it is: notes, and the account at the end. */
import type { Note } from "../runner/job-notes.ts";
import type { HarnessCommand, HarnessReport } from "./harness.ts";

/** What the model said in a turn. */
export function turnNote(message: string): Note {
  return { level: "info", topic: "agent.turn", message };
}

/** A call of a tool; `message` names it for people. */
export function callNote(message: string, isFailed: boolean, payload: Note["payload"]): Note {
  return {
    level: isFailed ? "warn" : "info",
    topic: "agent.call",
    message,
    ...(payload && { payload }),
  };
}

/** What went wrong: `warn` where it goes on, `error` where that was its end. */
export function troubleNote(level: "warn" | "error", message: string): Note {
  return { level, topic: "agent", message };
}

/** What a reader knows of an agent that has ended. */
export interface AgentEnd {
  readonly name: string;
  readonly exitCode: number;
  /** By the agent's own word. */
  readonly isDone: boolean;
  /** Why it failed, by its own word. Empty: it told of no failure. */
  readonly failure: string;
  readonly summary: string;
  readonly commands: readonly HarnessCommand[];
}

/** Its account: it has finished only if its word and its exit status agree. */
export function accountOf({ name, exitCode, isDone, failure, ...told }: AgentEnd): HarnessReport {
  const finished = isDone && failure === "" && exitCode === 0;
  const message = finished ? "" : failure || `${name} ended with status ${exitCode}`;
  return { ...told, finished, message };
}
