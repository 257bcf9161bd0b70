/** The commands about the queue, the runners and what keeps jobs waiting; many retries at once. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect } from "chai";
import { type CliBed, openBed } from "./bed.ts";
import { jsonLines } from "./run-cli.ts";

describe("devmesh queue, agents, why and retries", function () {
  this.timeout(60_000);
  let bed: CliBed;
  beforeEach(async () => {
    bed = await openBed();
  });
  afterEach(() => bed.close());

  const create = async (options: readonly string[], ...command: string[]) => {
    const { out, err } = await bed.cli(["run", "--detach", ...options, "--", ...command]);
    expect(err).to.not.include("error:");
    return out.trim();
  };
  const json = async (...args: string[]) => {
    const { code, out, err } = await bed.cli([...args, "--json"]);
    expect(code, err).to.equal(0);
    const lines = jsonLines(out);
    expect(lines).to.have.length(1);
    return lines[0] ?? {};
  };

  it("queue: shows, pauses with a reason, resumes", async () => {
    await create([], "hang");
    expect((await bed.cli(["queue"])).out).to.match(
      /^state +open\nqueued +0 of 1000\nrunning +1\n$/,
    );
    expect((await json("queue")).queue).to.deep.include({ paused: false, running: "1" });
    const paused = await bed.cli(["queue", "pause", "--detail", "upgrade of the hosts"]);
    expect(paused.code).to.equal(0);
    expect(paused.out).to.match(/state +paused since \d{4}-.*Z: upgrade of the hosts\n/);
    expect((await json("queue", "pause")).queue).to.include({ paused: true });
    const { queue } = await json("queue");
    expect(queue).to.deep.include({ paused: true, pauseDetail: "upgrade of the hosts" });
    expect((await json("queue", "resume")).queue).to.include({ paused: false });
    expect((await bed.cli(["queue", "resume"])).out).to.match(/^state +open\n/);
    const refused = await bed.cli(["queue", "stop"]);
    expect([refused.code, refused.err]).to.deep.equal([
      2,
      'error: unexpected argument "stop" [USAGE]\n',
    ]);
  });

  it("agents: lists, drains, resumes", async () => {
    const listed = await bed.cli(["agents"]);
    expect(listed.out).to.match(/^ID +HOST +STATUS +RUNNING +ISOLATION +LABELS +LAST SEEN\n/);
    expect(listed.out).to.match(/runner-1 +fake +✓ alive +0 of 2 +process +- +\d{4}-/);
    const drained = await bed.cli(["agents", "drain", "runner-1"]);
    expect(drained.out).to.equal("runner-1 ○ draining, 0 jobs running\n");
    expect((await bed.cli(["agents"])).out).to.include("○ draining");
    const { agent } = await json("agents", "resume", "runner-1");
    expect(agent).to.include({ id: "runner-1", status: "AGENT_STATUS_ALIVE" });
    expect((await json("agents")).agents).to.have.length(1);
    for (const verb of ["drain", "resume"]) {
      expect((await bed.cli(["agents", verb, "nobody"])).code).to.equal(4);
      expect((await bed.cli(["agents", verb])).err).to.include("ID is missing");
    }
    bed.fake.queue.agents.length = 0;
    const none = await bed.cli(["agents"]);
    expect(none.out).to.equal("");
    expect(none.err).to.include("no runners");
  });

  it("jobs why: everything that keeps a job waiting, until when, and the remedy", async () => {
    const id = await create([], "hang");
    expect((await bed.cli(["jobs", "why", id])).out).to.equal(
      "● running: nothing keeps it waiting\n",
    );
    expect(await json("jobs", "why", id)).to.deep.equal({
      status: "JOB_STATUS_RUNNING",
      clear: true,
      blocks: [],
    });
    bed.fake.jobs.blocks.set(id, [
      { kind: "paused", message: "the queue is paused", remedy: "devmesh queue resume" },
      {
        kind: "backoff",
        message: "attempt 2 waits",
        until: timestampFromMs(Date.UTC(2030, 0, 1)),
      },
    ]);
    const { out } = await bed.cli(["jobs", "why", id]);
    expect(out).to.equal(
      "● running: it waits:\n" +
        "paused: the queue is paused\n  remedy: devmesh queue resume\n" +
        "backoff: attempt 2 waits (until 2030-01-01T00:00:00.000Z)\n",
    );
    const why = await json("jobs", "why", id);
    expect(why).to.include({ clear: false });
    expect(why).to.have.nested.property("blocks[1].until", "2030-01-01T00:00:00Z");
    expect((await bed.cli(["jobs", "why", "job_none"])).code).to.equal(4);
    expect((await bed.cli(["jobs", "why"])).code).to.equal(2);
  });

  it("jobs retry: all that a filter picks, over pages, each once", async () => {
    const bad: string[] = [];
    for (let i = 0; i < 3; i++) bad.push(await create(["--label", "team=a"], "exit", "1"));
    const other = await create(["--label", "team=b"], "timeout");
    const cancelled = await create([], "hang");
    await bed.cli(["jobs", "cancel", cancelled]);
    await bed.cli(["jobs", "watch", cancelled]);

    const labelled = await json("jobs", "retry", "--failed", "--label", "team=b");
    expect((labelled.jobs as { id: string }[]).map(({ id }) => id)).to.deep.equal([other]);
    // Retries of failures fail too: this one picks the old three and that one.
    const { out, err } = await bed.cli(["jobs", "retry", "--failed", "--reason", "EXIT_STATUS"]);
    const lines = out.trim().split("\n");
    expect(lines.map((line) => line.split(" ")[0])).to.deep.equal([...bad].reverse());
    for (const line of lines) expect(line).to.match(/^job_\d+ job_\d+$/);
    expect(err).to.include("3 jobs retried");
    const again = await json("jobs", "retry", "--cancelled");
    expect((again.jobs as { id: string }[]).map(({ id }) => id)).to.deep.equal([cancelled]);
    expect((await json("jobs", "retry", "--cancelled")).jobs).to.deep.equal([]);
    // Failed and cancelled ones; those that were retried before are passed over.
    const rest = (await json("jobs", "retry", "--all")).jobs as { id: string }[];
    expect(rest.map(({ id }) => id)).to.not.include.members([...bad, other, cancelled]);
    expect(rest).to.have.length(4);
  });

  for (const [what, args, text] of [
    ["no job and no filter", ["jobs", "retry"], "ID is missing"],
    ["a job and a filter", ["jobs", "retry", "--failed", "job_1"], 'unexpected argument "job_1"'],
    ["a key with a filter", ["jobs", "retry", "--all", "--key", "k"], "--key goes with one job"],
    ["a reason with one job", ["jobs", "retry", "job_1", "--reason", "X"], "--reason and --label"],
    ["a broken label", ["jobs", "retry", "--all", "--label", "x"], "--label: "],
  ] as const) {
    it(`jobs retry refuses ${what}`, async () => {
      const { code, out, err } = await bed.cli(args);
      expect({ code, out }).to.deep.equal({ code: 2, out: "" });
      expect(err).to.include(text);
    });
  }

  it("jobs get: the cancel's receipt, and the writes that were refused", async () => {
    const id = await create([], "hang");
    await bed.cli(["jobs", "cancel", id]);
    await bed.cli(["jobs", "watch", id]);
    bed.fake.jobs.fencedWrites.set(id, [
      {
        ...{ epoch: 1, runner: "run_old", action: "append", count: 3 },
        time: timestampFromMs(Date.UTC(2030, 0, 1)),
      },
    ]);
    const { out } = await bed.cli(["jobs", "get", id, "--events"]);
    expect(out).to.match(/^cancel +asked by tok_1, \d{4}-.*Z, on request$/m);
    expect(out).to.match(
      /^cancel +delivered \+0 ms, signalled \+2 ms, stopped \+40 ms, sandbox_removed \+95 ms, 0 processes left$/m,
    );
    expect(out).to.match(
      /^fenced +append of run_old, epoch 1, 3×, last 2030-01-01T00:00:00.000Z$/m,
    );
    const all = await json("jobs", "get", id, "--events");
    expect(all).to.have.nested.property("job.result.cancel.steps[1].name", "signalled");
    expect(all.fencedWrites).to.deep.equal([
      {
        ...{ epoch: 1, runner: "run_old", action: "append", count: 3 },
        time: "2030-01-01T00:00:00Z",
      },
    ]);
    expect(await json("jobs", "get", id)).to.have.all.keys("job");
  });

  it("run: sends every condition, and the list shows priorities where there are some", async () => {
    const plain = await create([], "echo");
    expect((await bed.cli(["jobs", "list"])).out).to.not.include("PRIO");
    const id = await create(
      [
        ...["--priority=-7", "--delay", "90s", "--queue-timeout", "1h", "--silence-timeout", "15m"],
        ...["--concurrency", "deploy:web:2", "--retries", "3", "--retry-failures"],
        ...["--min-backoff", "500ms", "--max-backoff", "10m", "--timeout", "2h"],
      ],
      "echo",
    );
    const { spec } = bed.fake.jobs.entry(id).job;
    expect(spec).to.include({ priority: -7, maxAttempts: 4 });
    expect(spec?.startDelay).to.include({ seconds: 90n });
    expect(spec?.limits?.queueTimeout).to.include({ seconds: 3600n });
    expect(spec?.limits?.silenceTimeout).to.include({ seconds: 900n });
    expect(spec?.limits?.runTimeout).to.include({ seconds: 7200n });
    expect(spec?.concurrency).to.include({ key: "deploy:web", limit: 2 });
    expect(spec?.retry).to.include({ failures: true });
    expect(spec?.retry?.minBackoff).to.include({ nanos: 500_000_000 });
    expect(spec?.retry?.maxBackoff).to.include({ seconds: 600n });
    const list = await bed.cli(["jobs", "list"]);
    expect(list.out).to.match(/^ID +STATUS +PRIO +TYPE/);
    expect(list.out).to.match(new RegExp(`${id} +✓ succeeded +-7 +command`));
    expect(list.out).to.match(new RegExp(`${plain} +✓ succeeded +command`));
    const { out } = await bed.cli(["jobs", "get", id]);
    expect(out)
      .to.match(/^priority +-7$/m)
      .and.match(/^key +deploy:web, 2 at once$/m);
  });

  it("run: asks for nothing that was not said", async () => {
    const { spec } = bed.fake.jobs.entry(await create([], "echo")).job;
    expect(spec).to.include({ priority: 0, maxAttempts: 0 });
    for (const name of ["limits", "concurrency", "startDelay", "retry"] as const) {
      expect(spec?.[name], name).to.equal(undefined);
    }
    const keyed = await create(["--concurrency", "a:b"], "echo");
    expect(bed.fake.jobs.entry(keyed).job.spec?.concurrency).to.include({ key: "a:b", limit: 0 });
  });

  for (const [option, value] of [
    ["--priority", "high"],
    ["--priority", "1001"],
    ["--priority", "1.5"],
    ["--delay", "5"],
    ["--delay", "31d"],
    ["--queue-timeout", "91d"],
    ["--silence-timeout", "soon"],
    ["--silence-timeout", "25h"],
    ["--timeout", "2d"],
    ["--concurrency", ":2"],
    ["--concurrency", "key:0"],
    ["--concurrency", "key:10001"],
    ["--concurrency", "k".repeat(129)],
    ["--concurrency", ""],
    ["--retries", "20"],
    ["--retries", "-1"],
    ["--min-backoff", "1"],
    ["--max-backoff", "25h"],
    ["--label", "novalue"],
  ] as const) {
    it(`run refuses ${option}=${value.slice(0, 10)} and names the option`, async () => {
      const { code, out, err } = await bed.cli(["run", `${option}=${value}`, "--", "echo"]);
      expect({ code, out }).to.deep.equal({ code: 2, out: "" });
      expect(err).to.match(new RegExp(`^error: ${option}: `));
      expect(bed.fake.jobs.all()).to.deep.equal([]);
    });
  }
});
