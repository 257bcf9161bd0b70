/** What an agent is given: its task, its limits and its context pack. */
import type { JsonObject } from "@bufbuild/protobuf";
import type { AgentWork } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import type { ContextPack } from "@devmesh/gen/devmesh/mcp/v1/pack_pb";
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import type { Backend } from "../backend.ts";
import type { EventShipper } from "../event-shipper.ts";

/** Defaults as the contract names them. */
const defaults = { model: "coding", maxSteps: 40, maxTokens: 400_000, contextTokens: 4_000 };

/** The part of the run timeout that an agent may use; the rest is for its report and the tests. */
const reportShare = 0.95;

/** The content of the agent's input, but for what each start of it adds. */
export interface AgentInput {
  readonly task: string;
  readonly model: string;
  readonly testArgv: readonly string[];
  readonly maxSteps: number;
  readonly maxTokens: number;
  readonly contextPack: JsonObject | null;
  /** The tools that it may use besides `finish`; undefined: all. */
  readonly tools: readonly string[] | undefined;
  /** Millionths of a US dollar; 0: no bound. */
  readonly maxCostMicros: number;
  readonly protectedPaths: readonly string[];
  /** True: it tells changed files, so that another attempt can go on. */
  readonly checkpoints: boolean;
}

/** Makes the input; asks for the context pack and leaves its receipt in the job's events. Throws the reason of a stop. */
export async function makeAgentInput(
  work: AgentWork,
  backend: Pick<Backend, "context">,
  shipper: EventShipper,
  signal: AbortSignal,
): Promise<AgentInput> {
  return {
    task: work.task,
    model: work.model || defaults.model,
    testArgv: work.testArgv,
    maxSteps: work.maxSteps || defaults.maxSteps,
    maxTokens: work.maxTokens || defaults.maxTokens,
    contextPack: await packFor(work, backend, shipper, signal),
    tools: work.tools.length === 0 ? undefined : work.tools,
    maxCostMicros: Number(work.maxCostMicros),
    protectedPaths: work.protectedPaths,
    checkpoints: true,
  };
}

/** How long an agent may work in the time that is left: in time to report. */
export function agentSeconds(leftMs: number): number {
  return Math.max(1, Math.floor((leftMs / 1000) * reportShare));
}

/** An agent can work without context, so a plane that is away costs only the pack. */
async function packFor(
  work: AgentWork,
  backend: Pick<Backend, "context">,
  shipper: EventShipper,
  signal: AbortSignal,
): Promise<JsonObject | null> {
  const budgetTokens = work.contextTokens || defaults.contextTokens;
  const pack = await buildPack({ task: work.task, budgetTokens }, backend, signal);
  // A stop is not a failure of the plane.
  signal.throwIfAborted();
  if (pack instanceof DevmeshError) {
    const message = `no context: ${pack.message}`;
    await shipper.note({ level: "warn", topic: "context", message });
    return null;
  }
  if (pack === undefined) return null;
  const receipt = receiptOf(pack);
  await shipper.note({
    level: "info",
    topic: "context",
    message: `context: ${pack.items.length} items, ${pack.tokens} of ${budgetTokens} tokens`,
    payload: receipt,
  });
  return { text: pack.text, ...receipt };
}

async function buildPack(
  request: { readonly task: string; readonly budgetTokens: number },
  { context }: Pick<Backend, "context">,
  signal: AbortSignal,
): Promise<ContextPack | DevmeshError | undefined> {
  try {
    return (await context.buildContextPack(request, { timeoutMs: 30_000, signal })).pack;
  } catch (error) {
    return toDevmeshError(error);
  }
}

function receiptOf(pack: ContextPack): JsonObject {
  return {
    tokens: pack.tokens,
    budget: pack.budgetTokens,
    arms: pack.arms,
    degraded: pack.degraded,
    tokenizer: pack.tokenizer,
    items: pack.items.map(({ source, startLine, endLine, tokens, why }) => ({
      source,
      startLine,
      endLine,
      tokens,
      why,
    })),
  };
}
