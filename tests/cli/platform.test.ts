/** The command line against the real platform, started by `devmesh up`. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect } from "chai";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { type CliOptions, jsonLines, runCli } from "./run-cli.ts";

const root = join(import.meta.dirname, "..", "..");

interface Up {
  readonly child: ChildProcess;
  readonly url: string;
}

async function startUp(data: string, port = 0): Promise<Up> {
  const args = [
    "--api-port",
    String(port),
    "--private-ports",
    "auto",
    "--data-dir",
    data,
    "--json",
  ];
  const child = spawn(process.execPath, [join(root, "cli/bin/devmesh.js"), "up", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { PATH: process.env.PATH, HOME: data },
  });
  let text = "";
  for await (const chunk of child.stdout) {
    text += String(chunk);
    if (text.includes("\n")) break;
  }
  const [summary] = jsonLines(text);
  return { child, url: String(summary?.url) };
}

async function stop({ child }: Up, signal: NodeJS.Signals): Promise<void> {
  const closed = once(child, "close");
  child.kill(signal);
  await closed;
}

describe("devmesh against its platform", function () {
  this.timeout(180_000);
  let data: TempFolder;
  let up: Up;

  before(async function () {
    if (!existsSync(join(root, "services/up/index.ts"))) this.skip();
    data = tempFolder();
    up = await startUp(data.path);
    // Jobs wait until the runner is there, so the first one is the readiness gate.
    expect((await cli(["run", "--", "true"])).code).to.equal(0);
  });
  after(async () => {
    if (up !== undefined) await stop(up, "SIGTERM");
    data?.[Symbol.dispose]();
  });

  const cli = (args: readonly string[], options: CliOptions = {}) =>
    runCli(args, { ...options, env: { DEVMESH_URL: up.url, DEVMESH_DATA_DIR: data.path } });

  it("finds nothing broken", async () => {
    const { out, code } = await cli(["doctor"]);
    expect(out).to.include("ok     runner");
    expect({ code, broken: out.includes("broken") }).to.deep.equal({ code: 0, broken: false });
  });

  it("carries every byte of both outputs, and the exit code", async () => {
    const program = "head -c 1500000 /dev/zero | tr '\\0' '\\377'; echo err >&2; exit 7";
    const { code, stdout, err } = await cli(["run", "-q", "--", "sh", "-c", program]);
    expect(code).to.equal(7);
    expect(stdout.length).to.equal(1_500_000);
    expect(stdout.every((byte) => byte === 0xff)).to.equal(true);
    expect(err).to.equal("err\n");
  });

  it("takes a workspace there and the changes back", async () => {
    using workspace = tempFolder({ "a.txt": "a", "old/c.txt": "c" });
    const program = "cat a.txt; mkdir -p d; echo b > d/b.txt; echo changed > a.txt; rm -r old";
    const args = ["run", "-q", "-w", workspace.path, "--apply", "--", "sh", "-c", program];
    expect(await cli(args)).to.include({ code: 0, out: "a", err: "" });
    expect(readFileSync(join(workspace.path, "a.txt"), "utf8")).to.equal("changed\n");
    expect(readFileSync(join(workspace.path, "d/b.txt"), "utf8")).to.equal("b\n");
    expect(existsSync(join(workspace.path, "old"))).to.equal(false);
  });

  it("numbers the events without a gap", async () => {
    const { out: id } = await cli(["run", "--detach", "--", "echo", "hello"]);
    expect((await cli(["jobs", "watch", id.trim()])).out).to.equal("hello\n");
    const [document] = jsonLines((await cli(["jobs", "get", id.trim(), "--events", "--json"])).out);
    const events = document?.events as { seq: number; type: string; text?: string }[];
    expect(events.map(({ seq }) => seq)).to.deep.equal(events.map((_, i) => i + 1));
    expect(events.filter(({ type }) => type === "log")[0]?.text).to.equal("hello\n");
    expect(events.at(-1)?.type).to.equal("result");
  });

  it("cancels on Ctrl-C, and ends at the time limit", async () => {
    let sent = false;
    const cancelled = await cli(["run", "--", "sleep", "600"], {
      onErr: (text, child) => {
        if (!sent && text.includes("running")) sent = child.kill("SIGINT");
      },
    });
    expect(cancelled.code).to.equal(130);
    expect((await cli(["run", "--timeout", "1s", "--", "sleep", "600"])).code).to.equal(124);
  });

  it("answers 1 for a missing program, 3 for a wrong token, 4 for a missing job", async () => {
    expect((await cli(["run", "--", "no-such-program"])).code).to.equal(1);
    expect((await cli(["jobs", "list", "--token", "wrong"])).code).to.equal(3);
    expect((await cli(["jobs", "get", "job_none"])).code).to.equal(4);
  });

  it("ingests and searches", async () => {
    using folder = tempFolder({ "notes/a.md": "# Wombats\n\nWombats dig burrows.\n" });
    const ingested = await cli(["ingest", "notes"], { cwd: folder.path });
    expect(ingested.out).to.equal("1 documents: 1 added\n");
    const found = await cli(["search", "wombats"]);
    expect(found.out).to.match(/^notes\/a\.md:/);
  });

  it("follows a job over a killed and restarted server", async () => {
    const program = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; sleep 0.1; done";
    const port = Number(new URL(up.url).port);
    let restart: Promise<void> | undefined;
    const { code, out, err } = await cli(["run", "--", "sh", "-c", program], {
      onErr: (text) => {
        if (!text.includes("[sandbox]")) return;
        restart ??= (async () => {
          await stop(up, "SIGKILL");
          up = await startUp(data.path, port);
        })();
      },
    });
    await restart;
    expect(code, err).to.equal(0);
    expect(err).to.include("reconnecting");
    const whole = Array.from({ length: 40 }, (_, i) => `line ${i + 1}\n`).join("");
    expect(out.endsWith(whole), out).to.equal(true);
  });

  it("finds an audit row that was altered behind its back, and says which", async () => {
    const well = await cli(["audit", "verify", "--json"]);
    expect(well.code).to.equal(0);
    const [verdict] = jsonLines(well.out);
    expect(verdict).to.include({ intact: true, brokenId: 0 });
    const database = new DatabaseSync(join(data.path, "api.sqlite"));
    const row = database.prepare("SELECT id FROM audit ORDER BY id LIMIT 1 OFFSET 2").get();
    database.exec("DROP TRIGGER audit_is_never_changed");
    database.prepare("UPDATE audit SET actor = 'nobody' WHERE id = ?").run(Number(row?.id));
    database.close();
    const broken = await cli(["audit", "verify", "--json"]);
    expect(broken.code).to.equal(1);
    expect(jsonLines(broken.out)[0]).to.include({ intact: false, brokenId: Number(row?.id) });
    const kept = String(verdict?.headHash);
    expect((await cli(["audit", "verify", "--expect", kept])).code).to.equal(1);
    expect((await cli(["audit", "list", "--limit", "3"])).out).to.match(/^ID\s+TIME\s+ACTOR/);
  });
});
