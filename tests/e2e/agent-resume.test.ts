/** An agent's work survives `kill -9` of everything: it goes on from the job's log. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect } from "chai";
import { type JobEvent, JobStatus } from "../../sdk/ts/src/node.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { notesOf, recordedTasks, send, tasksFolder } from "./agent-task.ts";
import { startUp, type Up } from "./up.ts";

interface Script {
  readonly conversations: { turns: { pieces: unknown[] }[] }[];
}

describe("an agent whose platform is killed", function () {
  this.timeout(240_000);
  let folder: TempFolder;
  let up: Up | undefined;

  beforeEach(() => {
    folder = tempFolder();
  });
  afterEach(async () => {
    await up?.stop("SIGKILL");
    up = undefined;
    folder[Symbol.dispose]();
  });

  const taskOf = (name: string) => {
    const task = recordedTasks().find((one) => one.name === name);
    if (task === undefined) throw new Error(`no task ${name}`);
    return task;
  };

  /** A copy of a recording in which the model never answers that turn. */
  function stuckAt(name: string, turn: number): string {
    const text = readFileSync(join(tasksFolder, name, "conversation.json"), "utf8");
    const script = JSON.parse(text) as Script;
    const [conversation] = script.conversations;
    if (conversation?.turns[turn] === undefined) throw new Error(`no turn ${turn}`);
    conversation.turns[turn].pieces = [{ hang: true }];
    const path = join(folder.path, "stuck.json");
    writeFileSync(path, JSON.stringify(script));
    return path;
  }

  async function start(scripted: string): Promise<Up> {
    const env = { LEASE_TTL_MS: "2000", SCRIPTED_PATH: scripted };
    up = await startUp({ dataDir: join(folder.path, "data"), env });
    return up;
  }

  async function submit({ devmesh }: Up, name: string): Promise<string> {
    const { name: _, workspace, answer: __, ...agent } = taskOf(name);
    const workspaceSha256 = await send(devmesh, workspace);
    return (await devmesh.jobs.create({ agent, workspaceSha256 })).jobId;
  }

  /** Watches until an event; answers all so far. */
  async function watchUntil({ devmesh }: Up, id: string, isIt: (event: JobEvent) => boolean) {
    const events: JobEvent[] = [];
    for await (const event of devmesh.jobs.watch(id)) {
      events.push(event);
      if (isIt(event)) return events;
    }
    throw new Error(`the job ended: ${JSON.stringify(events.at(-1)?.kind.value)}`);
  }

  const isNote = (topic: string, message: string) => (event: JobEvent) =>
    notesOf([event], topic).some((text) => text.includes(message));
  const isResult = ({ kind }: JobEvent) => kind.case === "result";

  /** How many answers of models the ledger has for a job. */
  function answersOf(id: string): number {
    const path = readdirSync(join(folder.path, "data"), { recursive: true, encoding: "utf8" })
      .filter((name) => /inference[^/]*$/.test(name))
      .map((name) => join(folder.path, "data", name))
      .find((file) => /\.(db|sqlite)$/.test(file) && existsSync(file));
    using db = new DatabaseSync(path ?? "", { readOnly: true });
    const asked = "SELECT count(*) AS count FROM ledger WHERE job_id = ? AND outcome = 'ok'";
    return Number(db.prepare(asked).get(id)?.count);
  }

  it("goes on with its files and its conversation; no answer is asked for twice", async () => {
    const first = await start(stuckAt("several-files", 4));
    const id = await submit(first, "several-files");
    await watchUntil(first, id, isNote("agent.checkpoint", "3 changed"));
    await first.stop("SIGKILL");
    const before = answersOf(id);
    expect(before).to.be.at.most(4);

    const second = await start(tasksFolder);
    const events = await watchUntil(second, id, isResult);
    const job = await second.devmesh.jobs.get(id);
    expect(job.result, job.result?.message).to.include({ outcome: JobStatus.SUCCEEDED });
    expect(job.attempt).to.equal(2);
    expect(job.result?.agent).to.include({ steps: 6, testsBefore: "failed", testsAfter: "passed" });
    expect(job.result?.agent?.commands.map(({ exitCode }) => exitCode)).to.deep.equal([1, 0]);
    expect(notesOf(events, "agent.resume")).to.have.length(1);
    // Each turn and each call is in the log once: neither was asked for nor done again.
    const turns = notesOf(events, "agent.turn").map((text) => text.split(":")[0]);
    expect(turns).to.deep.equal([1, 2, 3, 4, 5, 6].map((step) => `turn ${step}`));
    expect(notesOf(events, "agent.call")).to.have.length(10);
    expect(notesOf(events, "agent.tests").filter((text) => text.includes("before"))).to.have.length(
      1,
    );
    await second.stop();
    // The two turns that the log did not have.
    expect(answersOf(id) - before).to.equal(2);
  });

  it("keeps its question, and goes on when it is answered after the restart", async () => {
    const first = await start(tasksFolder);
    const id = await submit(first, "budget-ask");
    const asked = await watchUntil(first, id, isNote("agent.question", "limit of 3 model turns"));
    await first.stop("SIGKILL");

    const second = await start(tasksFolder);
    await watchUntil(second, id, isNote("agent.resume", "goes on"));
    const questionSeq = asked.at(-1)?.seq ?? 0;
    const answer = { questionSeq, moreSteps: 5, message: "Prove it, please." };
    await second.devmesh.jobs.answer(id, answer);
    // The same again is no other answer.
    await second.devmesh.jobs.answer(id, answer);
    const events = await watchUntil(second, id, isResult);
    const { result, attempt } = await second.devmesh.jobs.get(id);
    expect(result, result?.message).to.include({ outcome: JobStatus.SUCCEEDED });
    expect(attempt).to.equal(2);
    expect(notesOf(events, "agent.question")).to.have.length(1);
    expect(notesOf(events, "agent.turn")).to.have.length(5);
    expect(result?.agent?.patch).to.include('+  [4, "IV"]');
  });
});
