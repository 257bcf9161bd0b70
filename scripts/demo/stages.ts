/** The stages of the demo, each a real call of the public API. */
import { join } from "node:path";
import {
  type DocumentInput,
  type IsolationName,
  type NodeDevmesh,
  packWorkspace,
  uploadWorkspace,
  walkDocuments,
} from "../../sdk/ts/src/node.ts";
import { AgentStatus, Isolation, JobStatus } from "../../sdk/ts/src/raw.ts";
import type { Report, Results } from "./report.ts";
import { type WatchedJob, watchJob } from "./watched-job.ts";

/** What the stages work with. */
export interface StagesInput {
  readonly devmesh: NodeDevmesh;
  readonly report: Report;
  /** This repository. */
  readonly root: string;
  /** Why there is no virtual machine. Empty: there should be one. */
  readonly vmReason: string;
  readonly agentModel: string;
}

const agentTask = "A test of this project fails. Find the bug and make the tests pass.";

/** Runs them in order and answers what each found. */
export async function runStages(input: StagesInput): Promise<Results> {
  const { report } = input;
  const isolations = await report.stage("runner", "waits for the runner", () =>
    waitForRunner(input),
  );
  await report.stage("ingest", "ingests this repository", () => ingest(input));
  await report.stage("search", "searches it", () => search(input));
  const context = await report.stage("pack", "packs context for a task", () => pack(input));
  const infer = await report.stage("infer", "streams a model's answer", () => askModel(input));
  const agent = await report.stage("agent", "lets the agent fix examples/ledger", () =>
    runAgent(input),
  );
  const strongest = isolations.filter((name) => name !== "vm").at(-1) ?? "process";
  const { job, sandbox } = await report.stage(
    "command",
    `runs a command in a ${strongest} sandbox`,
    () => runCommand(input, strongest),
  );
  const vm = await report.stage("vm", "runs a command in a virtual machine", () =>
    runVm(input, isolations.includes("vm")),
  );
  return { job, agent, context, infer, sandbox, vm };
}

/** The isolation tiers that an alive runner gives, weakest first. */
async function waitForRunner({ devmesh, report }: StagesInput): Promise<IsolationName[]> {
  const until = Date.now() + 120_000;
  for (;;) {
    const agents = await devmesh.agents.list();
    const alive = agents.filter(({ status }) => status === AgentStatus.ALIVE);
    const rows = alive.flatMap(({ capabilities }) => capabilities);
    // A virtual machine is tried by booting one, which takes some seconds.
    if (rows.length > 0 && rows.every(({ pending }) => !pending)) {
      for (const { driver, engine, available, reason } of rows) {
        report.say(available ? `${driver}: ${engine}` : `${driver}: ${reason}`);
      }
      return rows
        .filter(({ available }) => available)
        .map(({ isolation }) => Isolation[isolation].toLowerCase() as IsolationName);
    }
    if (Date.now() > until) throw new Error("no runner presented itself within two minutes");
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

async function ingest({ devmesh, report, root }: StagesInput): Promise<void> {
  const outcomes = await devmesh.context.ingest(documentsOf(root));
  const count = (state: string) => outcomes.filter((outcome) => outcome.state === state).length;
  const chunks = outcomes.reduce((sum, outcome) => sum + outcome.chunks, 0);
  report.say(`${count("added")} documents, ${chunks} chunks, ${count("refused")} refused`);
  if (count("added") === 0) report.problem("nothing was ingested");
}

async function* documentsOf(root: string): AsyncGenerator<DocumentInput> {
  for await (const file of walkDocuments(root)) {
    if (file.kind === "document" && file.source !== "package-lock.json") {
      yield { source: file.source, text: file.text };
    }
  }
}

async function search({ devmesh, report }: StagesInput): Promise<void> {
  const { items, receipt } = await devmesh.context.search(
    "which runner may write under a lease's epoch",
    {
      topK: 3,
    },
  );
  for (const item of items)
    report.say(`${item.source}:${item.startLine}-${item.endLine}  ${item.title}`);
  if (receipt?.degraded) report.say(`(${receipt.degraded})`);
  if (items.length === 0) report.problem("the search found nothing");
}

async function pack({ devmesh, report }: StagesInput) {
  const task = "Explain how a job's events get their sequence numbers";
  const found = await devmesh.context.pack(task, { budgetTokens: 2_000 });
  const { tokens, budgetTokens: budget, arms } = found;
  report.say(
    `${found.items.length} items, ${tokens} of ${budget} tokens, by ${arms.join(" and ")}`,
  );
  if (tokens > budget) report.problem("the pack is over its budget");
  return { items: found.items.length, tokens, budget, arms };
}

async function askModel({ devmesh, report }: StagesInput) {
  let text = "";
  let model = "";
  const input = "In one short sentence: what is a test?";
  try {
    for await (const { piece } of devmesh.llm.stream({ input, params: { maxTokens: 48 } })) {
      if (piece.case === "route") model = `${piece.value.provider}/${piece.value.model}`;
      if (piece.case === "text") text += piece.value;
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    report.say(`no model answers here: ${reason}`);
    return { ran: false, reason };
  }
  report.say(`${model}: ${text.trim()}`);
  return { ran: true, model, characters: text.length };
}

async function runAgent({ devmesh, report, root, agentModel }: StagesInput) {
  const scripted = agentModel.startsWith("scripted/");
  report.say(
    scripted
      ? "no capable model is set up: the agent's model REPLAYS A RECORDED conversation (provider `scripted`);"
      : `the agent's model is ${agentModel}`,
  );
  if (scripted) report.say("its tool calls, the sandbox, the edits and the tests are real");
  const packed = await packWorkspace(join(root, "examples", "ledger"));
  try {
    await uploadWorkspace(devmesh, packed);
  } finally {
    await packed.dispose();
  }
  const agent = { task: agentTask, model: agentModel, testArgv: ["node", "--test"] };
  const watched = await watchJob(devmesh, { agent, workspaceSha256: packed.sha256 }, (text) =>
    report.output(text),
  );
  const done = watched.result.agent;
  checkLog(report, watched);
  if (done === undefined || done.testsAfter !== "passed") {
    report.problem(`the agent did not make the tests pass: ${watched.result.message}`);
  }
  report.say(
    `tests before: ${done?.testsBefore}, after: ${done?.testsAfter}, ${done?.steps} steps`,
  );
  const [provider = "", ...name] = (done?.model ?? "").split("/");
  return {
    testsBefore: done?.testsBefore ?? "",
    testsAfter: done?.testsAfter ?? "",
    steps: done?.steps ?? 0,
    patch: done?.patch ?? "",
    model: { provider, name: name.join("/"), scripted: provider === "scripted" },
  };
}

async function runCommand({ devmesh, report }: StagesInput, isolation: IsolationName) {
  const script = "echo \"I am $(id -un) in $(pwd)\"; ls -A / | tr '\\n' ' '; echo; seq 1 5";
  const watched = await watchJob(devmesh, { command: ["sh", "-c", script], isolation }, (text) =>
    report.output(text),
  );
  checkLog(report, watched);
  const { id, result, watchedSha256, events } = watched;
  const outcome = JobStatus[result.outcome].toLowerCase();
  if (result.outcome !== JobStatus.SUCCEEDED)
    report.problem(`the command ${outcome}: ${result.message}`);
  return {
    job: { id, outcome, logSha256: result.logSha256, watchedSha256, events },
    sandbox: { driver: result.driver, isolation: Isolation[result.isolation].toLowerCase() },
  };
}

async function runVm({ devmesh, report, vmReason }: StagesInput, available: boolean) {
  if (!available) {
    const reason = vmReason || "no runner can start virtual machines on this host";
    report.say(reason);
    return { ran: false, reason };
  }
  const command = ["sh", "-c", "uname -a; head -2 /proc/meminfo"];
  const watched = await watchJob(devmesh, { command, isolation: "vm" }, (text) =>
    report.output(text),
  );
  checkLog(report, watched);
  const ran = watched.result.outcome === JobStatus.SUCCEEDED;
  if (!ran) report.problem(`the virtual machine failed: ${watched.result.message}`);
  return ran ? { ran } : { ran, reason: watched.result.message };
}

/** The log that was watched is the log that was recorded, or the demo fails. */
function checkLog(report: Report, { result, watchedSha256 }: WatchedJob): void {
  if (result.logSha256 === watchedSha256)
    report.say(`log verified: SHA-256 ${watchedSha256.slice(0, 16)}…`);
  else
    report.problem(`the watched log has SHA-256 ${watchedSha256}, recorded is ${result.logSha256}`);
}
