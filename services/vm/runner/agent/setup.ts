/** What an agent finds when it starts: its program, what an attempt before left of it, and its input. */
import { AgentHarness, type AgentWork } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { ReadOnlyMount } from "../../drivers/driver.ts";
import type { AttemptInput } from "../attempt-input.ts";
import type { Note } from "../job-notes.ts";
import { sandboxPaths } from "../work.ts";
import { changedFiles, type KeptChanges } from "../workspace/restore-workspace.ts";
import { AgentCheckpoints } from "./checkpoints.ts";
import { type ForeignAgent, prepareForeignAgent } from "./foreign-agent.ts";
import { makeAgentInput } from "./input.ts";
import { type AgentPast, noPast, readPast } from "./past.ts";
import type { AgentSetup } from "./rounds.ts";

/** The agent of another maker that the work names; undefined for devmesh's own. */
export async function foreignAgent(
  { tools, lease, shipper, stop }: AttemptInput,
  agent: AgentWork,
): Promise<ForeignAgent | undefined> {
  return prepareForeignAgent(agent, {
    ...{ harnessDir: tools.harnessDir, nodePath: tools.nodePath, shipper },
    input: () => makeAgentInput(agent, tools.backend.forJob(lease.jobToken), shipper, stop),
  });
}

/** The programs of devmesh's own agent. Throws UNAVAILABLE where it is not built. */
export function agentMounts({ tools }: AttemptInput): ReadOnlyMount[] {
  if (tools.agentPath === undefined) {
    throw new DevmeshError(
      "UNAVAILABLE",
      "the coding agent is not built on this host: run `node scripts/build.ts`",
      { metadata: { part: "agent" } },
    );
  }
  return [
    { hostPath: tools.nodePath, sandboxPath: sandboxPaths.node },
    { hostPath: tools.agentPath, sandboxPath: sandboxPaths.agent },
  ];
}

/** What an attempt before left of the work. Only devmesh's own agent goes on from its notes. */
export async function pastOf(
  { lease, tools, stop }: AttemptInput,
  { harness }: AgentWork,
): Promise<AgentPast> {
  const isOwn = harness === AgentHarness.UNSPECIFIED || harness === AgentHarness.CODER;
  return isOwn ? readPast(lease, tools.backend, tools.clock, stop) : noPast();
}

/** What devmesh's own agent goes on with; `kept` are the files that an attempt before changed. */
export async function agentSetup(
  input: AttemptInput,
  work: AgentWork,
  past: AgentPast,
  kept: KeptChanges | undefined,
): Promise<AgentSetup> {
  const { tools, lease, shipper, stop, folder, fenced: signal, answers, deadline } = input;
  const { clock, backend } = tools;
  const { blobs } = backend;
  const note = async (told: Note) => {
    await shipper.note(told);
  };
  const checkpoints = new AgentCheckpoints({ blobs, clock, signal, folder, note });
  if (kept !== undefined) {
    await checkpoints.restore(changedFiles(kept.changed, signal), kept.deleted);
  }
  const { length } = past.transcript.entries;
  if (length > 0) {
    const message = "the agent goes on from the log of the attempt before";
    await note({ level: "info", topic: "agent.resume", message, payload: { entries: length } });
  }
  return {
    input: await makeAgentInput(work, backend.forJob(lease.jobToken), shipper, stop),
    ...{ past, answers, deadline, checkpoints },
    hasFiles: kept !== undefined,
  };
}
