/** `run` and `agent`: upload, live log, exit code, artifacts, Ctrl-C. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { AgentHarness } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { expect } from "chai";
import { everyByte } from "../sdk/fake/fake-programs.ts";
import { tempFolder } from "../sdk/temp-folder.ts";
import { type CliBed, openBed } from "./bed.ts";
import { jsonLines } from "./run-cli.ts";

describe("devmesh run", function () {
  this.timeout(60_000);
  let bed: CliBed;
  before(async () => {
    bed = await openBed();
  });
  after(() => bed.close());

  it("sends each output where it belongs, unharmed", async () => {
    const { code, out, err } = await bed.cli(["run", "-q", "--", "both"]);
    expect({ code, out, err }).to.deep.equal({ code: 0, out: "out\n", err: "err\n" });
    const { stdout } = await bed.cli(["run", "--", "bytes"]);
    expect(stdout.equals(everyByte)).to.equal(true);
  });

  for (const [program, code] of [
    [["exit", "0"], 0],
    [["exit", "7"], 7],
    [["exit", "255"], 255],
    [["timeout"], 124],
    [["silent"], 124],
    [["missing"], 1],
  ] as const) {
    it(`answers ${code} for ${program.join(" ")}`, async () => {
      const result = await bed.cli(["run", "--", ...program]);
      expect(result.code).to.equal(code);
    });
  }

  it("passes the command's own options and environment on", async () => {
    const args = ["run", "-q", "-e", "A=1", "--env", "B=x=y", "--", "env", "--json", "-q"];
    const { out } = await bed.cli(args);
    expect(out.split("\n").sort()).to.deep.equal(["", "A=1", "B=x=y"]);
  });

  it("streams one JSON object a line with --json", async () => {
    const { code, out, err } = await bed.cli(["run", "--json", "--", "exit", "3"]);
    expect(code).to.equal(3);
    const lines = jsonLines(out);
    expect(lines.map(({ type }) => type)).to.deep.equal(["job", "status", "status", "result"]);
    expect(lines[0]).to.include({ replayed: false });
    expect(lines.at(-1)).to.include({ seq: 3, exitCode: 3, reason: "EXIT_STATUS" });
    expect(err).to.include("job_");
  });

  it("uploads a workspace, applies the changes, downloads the artifacts", async () => {
    using workspace = tempFolder({ "old.txt": "old", ".gitignore": "skip\n", skip: "" });
    const out = join(workspace.path, "out");
    const { code, err } = await bed.cli(
      ["run", "-w", ".", "--apply", "--out", out, "--", "changes"],
      { cwd: workspace.path },
    );
    expect(code).to.equal(0);
    expect(err).to.match(/workspace: 2 files, .* sent, 1 paths left out/);
    expect(err)
      .to.match(/artifact changes\.tar \(.*KiB\)/)
      .and.include("applied 2 files");
    expect(readFileSync(join(workspace.path, "old.txt"), "utf8")).to.equal("changed\n");
    expect(readFileSync(join(workspace.path, "src/new.txt"), "utf8")).to.equal("new\n");
    expect(existsSync(join(out, "changes.tar"))).to.equal(true);
    const [job] = bed.fake.jobs.all();
    const archive = bed.fake.blobs.get(job?.spec?.workspaceSha256 ?? "");
    expect(gunzipSync(archive).includes("old.txt")).to.equal(true);
  });

  it("deletes what the job deleted, and nothing outside of the workspace", async () => {
    using outer = tempFolder({ "ws/kept": "", "ws/d/gone": "", out: "" });
    const apply = ["run", "--apply", "-w", join(outer.path, "ws"), "--", "deletes"];
    const { code, err } = await bed.cli([...apply, "d/gone", "not/there"]);
    expect(code).to.equal(0);
    expect(err).to.match(/applied 0 files to .*, deleted 1\n/);
    expect(existsSync(join(outer.path, "ws/d"))).to.equal(false);
    const refused = await bed.cli([...apply, "kept", "../out"]);
    expect(refused.code).to.equal(2);
    expect(refused.err).to.include("outside the folder");
    expect(existsSync(join(outer.path, "out"))).to.equal(true);
    expect(existsSync(join(outer.path, "ws/kept"))).to.equal(true);
  });

  it("refuses changes that would leave the workspace", async () => {
    using outer = tempFolder({ "ws/a": "" });
    const { code, err } = await bed.cli([
      "run",
      "--apply",
      "-w",
      join(outer.path, "ws"),
      "--",
      "escape",
    ]);
    expect(code).to.equal(2);
    expect(err).to.include("outside the folder");
    expect(existsSync(join(outer.path, "escaped.txt"))).to.equal(false);
  });

  it("detaches at once and prints the id; the same key is the same job", async () => {
    const args = ["run", "--detach", "--key", "k-1", "--", "echo", "hi"];
    const first = await bed.cli(args);
    expect(first.out).to.match(/^job_\d+\n$/);
    const again = await bed.cli([...args.slice(0, 2), "--json", ...args.slice(2)]);
    expect(jsonLines(again.out)[0]).to.include({ jobId: first.out.trim(), replayed: true });
    const other = await bed.cli(["run", "--key", "k-1", "--", "echo", "other"]);
    expect(other.code).to.equal(5);
    expect(other.err).to.include("KEY_REUSED").and.include("remedy: use a new --key");
    expect(other.err).to.include(`devmesh jobs get ${first.out.trim()}`);
  });

  it("sends conditions", async () => {
    await bed.cli([
      "run",
      "--timeout",
      "90s",
      "--isolation",
      "gvisor",
      "--label",
      "a=b",
      "--",
      "echo",
    ]);
    const spec = bed.fake.jobs.all()[0]?.spec;
    expect(spec?.limits?.runTimeout?.seconds).to.equal(90n);
    expect(spec?.isolation).to.equal(3);
    expect(spec?.labels).to.deep.equal({ a: "b" });
  });

  it("reconnects without losing or doubling a byte", async () => {
    bed.fake.faults.cutWatchAfter = 100;
    const { code, out, err } = await bed.cli(["run", "--", "many", "300"]);
    expect(code).to.equal(0);
    expect(out).to.equal(Array.from({ length: 300 }, (_, i) => `line ${i + 1}\n`).join(""));
    expect(err).to.include("reconnecting");
  });

  it("fails if the log is not whole", async () => {
    bed.fake.jobs.forgedSha256 = "0".repeat(64);
    const { code, err } = await bed.cli(["run", "--", "echo", "x"]);
    bed.fake.jobs.forgedSha256 = undefined;
    expect(code).to.equal(1);
    expect(err).to.include("LOG_NOT_WHOLE");
  });

  it("cancels the job on Ctrl-C and waits for its end", async () => {
    let sent = false;
    const { code, err } = await bed.cli(["run", "--", "hang"], {
      onErr: (text, child) => {
        if (sent || !text.includes("running")) return;
        sent = true;
        child.kill("SIGINT");
      },
    });
    expect(code).to.equal(130);
    expect(err).to.include("cancelling job_").and.include("cancelled");
    expect(err).to.include("cancel: delivered +0 ms, signalled +2 ms");
    expect(bed.fake.jobs.all()[0]?.cancelRequested).to.equal(true);
  });

  it("leaves the job to itself on a second Ctrl-C", async () => {
    bed.fake.faults.silence("CancelJob");
    let step = 0;
    const { code, err } = await bed.cli(["run", "--", "hang"], {
      onErr: (text, child) => {
        if (step === 0 && text.includes("running")) step = Number(child.kill("SIGINT"));
        else if (step === 1 && text.includes("cancelling")) step = 1 + Number(child.kill("SIGINT"));
      },
    });
    expect(code).to.equal(130);
    expect(err).to.match(/follow it with `devmesh jobs watch job_\d+`/);
    expect(bed.fake.jobs.all()[0]?.result).to.equal(undefined);
  });

  for (const [what, args, text] of [
    ["no command", ["run"], "the command is missing"],
    ["a command without --", ["run", "ls"], 'unexpected "ls"'],
    ["a missing workspace", ["run", "-w", "/nonexistent", "--", "x"], "there is no folder"],
    ["a file as a workspace", ["run", "-w", "package.json", "--", "x"], "is not a folder"],
    ["--apply without a workspace", ["run", "--apply", "--", "x"], "--apply needs --workspace"],
    ["an unknown isolation", ["run", "--isolation", "strong", "--", "x"], "is not one of process"],
    ["a time without a unit", ["run", "--timeout", "5", "--", "x"], "is not a time"],
    ["a broken variable", ["run", "-e", "A", "--", "x"], "is not KEY=VALUE"],
    ["an empty key", ["run", "--key", "", "--", "x"], "--key: is empty"],
    ["a file to save in", ["run", "--out", "package.json", "--", "x"], "package.json is no folder"],
    ["a place below a file", ["run", "--out", "package.json/x", "--", "x"], "cannot be made"],
    ["a place below /proc", ["run", "--out", "/proc/none/x", "--", "x"], "cannot be made"],
    ["an empty program", ["run", "--", ""], "INVALID_FIELD"],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const { code, out, err } = await bed.cli(args);
      expect(code).to.equal(2);
      expect(out).to.equal("");
      expect(err)
        .to.match(/^error: /)
        .and.include(text);
      expect(err).to.not.match(/\n\s+at /);
    });
  }
});

describe("devmesh agent", function () {
  this.timeout(60_000);
  let bed: CliBed;
  before(async () => {
    bed = await openBed();
  });
  after(() => bed.close());

  it("hands a task in, shows its steps and its report", async () => {
    const args = ["agent", "--model", "scripted/m", "--test", "npm test", "fix the bug"];
    const { code, out, err } = await bed.cli(args);
    expect(code).to.equal(0);
    expect(out).to.equal("working on: fix the bug\n");
    expect(err).to.include("[agent.step] read the task");
    expect(err).to.include("tests: failed before, passed after").and.include("did: fix the bug");
    const work = bed.fake.jobs.all()[0]?.spec?.work;
    expect(work?.case).to.equal("agent");
    expect(work?.value).to.have.deep.property("testArgv", ["sh", "-c", "npm test"]);
  });

  it("names the agent that does the work, and its arguments", async () => {
    const rows: [string[], AgentHarness, string[]][] = [
      [["--with", "codex", "task"], AgentHarness.CODEX, []],
      [
        ["--with", "opencode", "task", "--", "--agent", "plan"],
        AgentHarness.OPENCODE,
        ["--agent", "plan"],
      ],
      [["--with", "command:./a.sh  {task}", "task"], AgentHarness.COMMAND, ["./a.sh", "{task}"]],
      [
        ["--with", "command:sh", "task", "--", "-c", "x y"],
        AgentHarness.COMMAND,
        ["sh", "-c", "x y"],
      ],
      [["--with", "command", "task", "--", "a b"], AgentHarness.COMMAND, ["a b"]],
      [["--with", "coder", "task"], AgentHarness.CODER, []],
      [["task"], AgentHarness.UNSPECIFIED, []],
    ];
    for (const [args, harness, harnessArgv] of rows) {
      expect((await bed.cli(["agent", ...args])).code, args.join(" ")).to.equal(0);
      const work = bed.fake.jobs.all()[0]?.spec?.work;
      expect(work?.value, args.join(" ")).to.deep.include({ task: "task", harness, harnessArgv });
    }
  });

  it("refuses agents that are none, and arguments that are nobody's", async () => {
    for (const args of [
      ["--with", "codexx", "task"],
      ["--with", "command:", "task"],
      ["--with", "command", "task"],
      ["--with", "coder", "task", "--", "x"],
      ["task", "--", "x"],
    ]) {
      const { code, err } = await bed.cli(["agent", ...args]);
      expect(code, args.join(" ")).to.equal(2);
      expect(err, args.join(" ")).to.not.include("    at ");
    }
  });

  it("refuses no task and two", async () => {
    expect((await bed.cli(["agent"])).code).to.equal(2);
    expect((await bed.cli(["agent", "a", "b"])).code).to.equal(2);
    expect((await bed.cli(["agent", "--max-steps", "0", "a"])).code).to.equal(2);
  });
});
