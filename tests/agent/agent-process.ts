/** The agent as the runner starts it: a child process, its lines and its records. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { buildCoder } from "../../agents/coder/build.ts";
import type { Report } from "../../agents/coder/src/records.ts";

/** A record on stderr. */
export interface AgentNote {
  readonly type: "note";
  readonly level: string;
  readonly topic: string;
  readonly message: string;
  readonly payload: Readonly<Record<string, string | number | boolean>>;
}

/** What is told to the agent. */
export interface AgentSetup {
  /** The work dir. */
  readonly cwd: string;
  /** A folder for the input file, outside the work dir. */
  readonly scratch: string;
  readonly backendUrl: string;
  /** Fields of the input file besides the usual ones. */
  readonly input?: Readonly<Record<string, unknown>>;
  /** Text of the input file, instead of JSON made from `input`. */
  readonly rawInput?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** How it ended. */
export interface AgentEnd {
  readonly status: number | null;
  readonly lines: string;
  readonly notes: readonly AgentNote[];
  readonly reports: readonly Report[];
  /** Bytes on stderr that are no records. */
  readonly noise: string;
}

/** A running agent. */
export interface RunningAgent {
  readonly child: ChildProcess;
  readonly end: Promise<AgentEnd>;
}

/** Starts the bundle. */
export async function startAgent(setup: AgentSetup): Promise<RunningAgent> {
  const inputPath = join(setup.scratch, "input.json");
  const usual = {
    task: "One test of this ledger fails. Find the cause, fix it and make the tests pass.",
    model: "coding",
    testArgv: ["node", "--test"],
    maxSteps: 0,
    maxTokens: 0,
    maxRetries: 1,
    contextPack: null,
  };
  await writeFile(inputPath, setup.rawInput ?? JSON.stringify({ ...usual, ...setup.input }));
  const child = spawn(process.execPath, [await buildCoder()], {
    cwd: setup.cwd,
    env: {
      PATH: process.env.PATH,
      HOME: setup.scratch,
      BACKEND_URL: setup.backendUrl,
      DEVMESH_TOKEN: "secret-token",
      DEVMESH_JOB_ID: "job_test",
      DEVMESH_AGENT_INPUT: inputPath,
      ...setup.env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  return { child, end: endOf(child) };
}

/** Starts the bundle and waits for its end. */
export async function runAgent(setup: AgentSetup): Promise<AgentEnd> {
  return (await startAgent(setup)).end;
}

async function endOf(child: ChildProcess): Promise<AgentEnd> {
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error("the agent has no pipes");
  const [lines, records, [status]] = await Promise.all([
    text(stdout),
    text(stderr),
    once(child, "exit") as Promise<[number | null]>,
  ]);
  return { status, lines, ...parseRecords(records) };
}

function parseRecords(sequence: string): Pick<AgentEnd, "notes" | "reports" | "noise"> {
  const [noise = "", ...records] = sequence.split("\x1e");
  const rows = records.map(
    (record) => JSON.parse(record) as AgentNote | (Report & { type: "report" }),
  );
  return {
    noise,
    notes: rows.filter((row) => row.type === "note"),
    reports: rows.filter((row) => row.type === "report"),
  };
}
