/** Why a job is not running: every rule that keeps it waiting, in words. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Agent, AgentStatus } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import type { JobBlockSchema } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { isPlaced, labelList, labelsOf, placementOf } from "./job-placement.ts";
import type { QueueFacts } from "./job-store.ts";

/** One thing that keeps a job waiting. */
export type JobBlock = MessageInitShape<typeof JobBlockSchema>;

/** Everything that keeps a job waiting, the first to look at first. Empty for jobs that do not wait. */
export function blocksOf(facts: QueueFacts, agents: readonly Agent[]): JobBlock[] {
  if (facts.job.status !== JobStatus.QUEUED) return [];
  const blocks = [paused(facts), held(facts), hosts(facts, agents), behind(facts)];
  return blocks.filter((block) => block !== undefined);
}

/** An agent that asks waits for its answer. */
export function questionBlock(id: string, question: string): JobBlock {
  return {
    kind: "question",
    message: `its agent asks: ${question}`,
    remedy: `answer it: devmesh jobs answer ${id} --more-steps N, or --stop`,
  };
}

function paused({ paused, pauseDetail }: QueueFacts): JobBlock | undefined {
  if (!paused) return undefined;
  const why = pauseDetail === "" ? "" : `: ${pauseDetail}`;
  return {
    kind: "paused",
    message: `the queue is paused${why}`,
    remedy: "resume it: devmesh queue resume",
  };
}

function held({ job, hold, holders }: QueueFacts): JobBlock | undefined {
  if (hold === "delay") {
    const until = job.availableTime;
    if (job.attempt === 0) {
      return { kind: "delayed", message: "its start delay is not over", until };
    }
    const message = `attempt ${job.attempt} ended badly: it waits before the next`;
    return { kind: "backoff", message, until };
  }
  if (hold !== "key") return undefined;
  const { key = "", limit = 0 } = job.spec?.concurrency ?? {};
  const slots = limit || 1;
  const who = holders.length === 0 ? "jobs before it wait" : `${holders.join(", ")} have them`;
  return {
    kind: "concurrency",
    message: `${slots} at once may run with the concurrency key ${JSON.stringify(key)}, and ${who}`,
    remedy: "wait for them, cancel one, or raise the limit in new jobs",
  };
}

/** What is missing of runners: any, one that isolates enough, or room on those. */
function hosts({ job }: QueueFacts, agents: readonly Agent[]): JobBlock | undefined {
  const placement = placementOf(job.spec?.runnerLabels ?? {});
  const alive = agents.filter(({ status }) => status === AgentStatus.ALIVE);
  if (alive.length === 0) {
    const draining = agents.filter(({ status }) => status === AgentStatus.DRAINING);
    if (draining.length === 0) {
      return { kind: "no_runner", message: "no runner is alive", remedy: "start a host" };
    }
    const names = draining.map(({ id }) => id).join(", ");
    const message = `every runner that is alive takes no new jobs: ${names}`;
    return { kind: "no_runner", message, remedy: "resume one: devmesh agents resume <id>" };
  }
  const placed = alive.filter(({ labels }) => isPlaced(placement, labels));
  if (placed.length === 0) return noLabel(placement, alive);
  const wanted = Math.max(Isolation.PROCESS, job.spec?.isolation ?? Isolation.PROCESS);
  const fitting = placed.filter(({ capabilities }) =>
    capabilities.some((row) => row.isolation >= wanted && (row.available || row.pending)),
  );
  if (fitting.length === 0) {
    const remedies = placed
      .flatMap(({ capabilities }) => capabilities.filter((row) => row.isolation >= wanted))
      .map(({ driver, remedy }) => `${driver}: ${remedy}`);
    return {
      kind: "no_isolation",
      message: `no runner${withLabels(labelsOf(placement))} gives the isolation ${Isolation[wanted]?.toLowerCase()} or a stronger one`,
      remedy: remedies.join("; ") || "name a driver for it in SANDBOX_DRIVERS of a runner",
    };
  }
  if (fitting.some(({ running, capacity }) => running < capacity)) return undefined;
  const full = fitting.map(({ id, running, capacity }) => `${id} (${running} of ${capacity})`);
  return {
    kind: "no_room",
    message: `every runner that fits is full: ${full.join(", ")}`,
    remedy: "wait, add a host, or raise its RUNNER_CAPACITY",
  };
}

/** Names the labels that no runner has; where each is had, but by no one runner, all of them. */
function noLabel(placement: string, alive: readonly Agent[]): JobBlock {
  const wanted = labelsOf(placement);
  const had = new Set(alive.flatMap(({ labels }) => labelList(labels)));
  const missing = wanted.filter((label) => !had.has(label));
  const named = missing.length > 0 ? missing : wanted;
  return {
    kind: "no_label",
    message: `no runner${withLabels(named)} takes jobs`,
    remedy: `start one: devmesh runner --join URL --labels ${wanted.join(",")}`,
  };
}

function withLabels(labels: readonly string[]): string {
  if (labels.length === 0) return "";
  return ` with ${labels.length === 1 ? "label" : "the labels"} ${labels.join(", ")}`;
}

function behind({ ahead }: QueueFacts): JobBlock | undefined {
  if (ahead === 0) return undefined;
  const count =
    ahead >= 1_000 ? "1,000 or more jobs are" : ahead === 1 ? "1 job is" : `${ahead} jobs are`;
  return { kind: "behind", message: `${count} before it`, remedy: "wait, or give it a priority" };
}
