/** The recorded tasks of `examples/tasks`, and doing one on a platform. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type AgentAnswerInput,
  type AgentTask,
  type IsolationName,
  type JobEvent,
  type JobResult,
  type NodeDevmesh,
  packWorkspace,
  uploadWorkspace,
} from "../../sdk/ts/src/node.ts";
import { root } from "./program.ts";

/** Where the tasks are; also what SCRIPTED_PATH is set to. */
export const tasksFolder = join(root, "examples", "tasks");

/** One task as its `task.json` says it. */
export interface RecordedTask extends AgentTask {
  readonly name: string;
  /** Its workspace's folder. */
  readonly workspace: string;
  /** What the agent is answered when it asks. Absent: it does not ask. */
  readonly answer?: Omit<AgentAnswerInput, "questionSeq">;
}

/** All tasks, sorted by name. */
export function recordedTasks(): RecordedTask[] {
  return readdirSync(tasksFolder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => {
      const folder = join(tasksFolder, name);
      const fields = JSON.parse(readFileSync(join(folder, "task.json"), "utf8")) as AgentTask;
      return { ...fields, name, workspace: join(folder, "workspace") };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** A task that was done. */
export interface DoneTask {
  readonly jobId: string;
  readonly result: JobResult;
  readonly events: readonly JobEvent[];
}

/** Hands a task in, answers what its agent asks, and waits for the end. */
export async function doTask(
  devmesh: NodeDevmesh,
  task: RecordedTask,
  isolation: IsolationName = "process",
): Promise<DoneTask> {
  const { name: _, workspace, answer, ...agent } = task;
  const workspaceSha256 = await send(devmesh, workspace);
  const { jobId } = await devmesh.jobs.create({ agent, isolation, workspaceSha256 });
  const events: JobEvent[] = [];
  for await (const event of devmesh.jobs.watch(jobId)) {
    events.push(event);
    const { kind, seq } = event;
    if (kind.case === "note" && kind.value.topic === "agent.question" && answer !== undefined) {
      await devmesh.jobs.answer(jobId, { ...answer, questionSeq: seq });
    }
    if (kind.case === "result") return { jobId, events, result: kind.value };
  }
  throw new Error(`job ${jobId} ended without a result`);
}

/** Uploads a folder; answers its archive's SHA-256. */
export async function send(devmesh: NodeDevmesh, folder: string): Promise<string> {
  const packed = await packWorkspace(folder);
  try {
    await uploadWorkspace(devmesh, packed);
    return packed.sha256;
  } finally {
    await packed.dispose();
  }
}

/** The messages of a job's notes of one topic. */
export function notesOf(events: readonly JobEvent[], topic: string): string[] {
  return events.flatMap(({ kind }) =>
    kind.case === "note" && kind.value.topic === topic ? [kind.value.message] : [],
  );
}
