/** What jobs leave running, and what they leave on disk, against the runner that takes it out. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { findBubblewrap } from "../../scripts/parts/bubblewrap.ts";
import { log, need } from "../parts/need.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { runProgram } from "./program.ts";
import { startUp, type Up, untilRunner } from "./up.ts";

/** Stops every tar for as long as it lives, out of reach of its job's signals. */
const stopsTar = `
setsid env -i PATH="$PATH" sh -c '
  trap "" HUP INT TERM
  echo up > /tmp/up
  while :; do
    for p in /proc/[0-9]*; do
      read c < $p/comm && [ "$c" = tar ] && kill -STOP \${p#/proc/}
    done
  done' >/dev/null 2>&1 </dev/null &
until [ -e /tmp/up ]; do :; done
echo new > new.txt
mkdir .git
head -c 64m /dev/zero > .git/keeps-tar-busy
`;

/** Does its work, and leaves behind what undoes it as soon as the tests have passed. */
const undoes = `
echo good > file.txt
setsid env -i PATH="$PATH" sh -c '
  trap "" HUP INT TERM
  echo up > /tmp/up
  until [ -e /tmp/ok ]; do :; done
  echo EVIL > /work/file.txt' >/dev/null 2>&1 </dev/null &
until [ -e /tmp/up ]; do :; done
`;

describe("what a job leaves behind", function () {
  this.timeout(120_000);
  let folder: TempFolder;
  let up: Up;

  before(async function () {
    need(this, await findBubblewrap({ log }));
    folder = tempFolder();
    const dataDir = join(folder.path, "data");
    mkdirSync(dataDir, { mode: 0o755 });
    const script = join(folder.path, "script.json");
    const models = [{ name: "replay", roles: ["chat", "coding"], contextTokens: 200_000 }];
    writeFileSync(script, JSON.stringify({ models, conversations: [] }));
    up = await startUp({ dataDir, env: { SCRIPTED_PATH: script } });
    await untilRunner(up);
  });
  after(async () => {
    await up?.stop();
    folder?.[Symbol.dispose]();
  });

  /** Runs a job; answers its lines and its result, which must come long before the limit. */
  async function job(...args: string[]) {
    const env = { HOME: folder.path, DEVMESH_URL: up.url, DEVMESH_TOKEN: up.token };
    const [command = "", ...rest] = args;
    const told = await runProgram({ args: [command, "--json", ...rest], env, limitMs: 90_000 });
    const lines = told.out
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const result = lines.find(({ type }) => type === "result");
    if (result === undefined) throw new Error(`no result: ${told.err}`);
    return { lines, result };
  }

  const artifacts = (result: Record<string, unknown>) =>
    (result.artifacts as { name: string }[]).map(({ name }) => name);

  it("cannot hold its runner's slot by stopping what takes its files", async () => {
    using workspace = tempFolder({ "stop.sh": stopsTar });
    const options = ["--workspace", workspace.path, "--timeout", "30s"];
    const { result } = await job("run", ...options, "--", "sh", "stop.sh");
    expect(result.outcome, JSON.stringify(result)).to.equal("JOB_STATUS_SUCCEEDED");
    expect(artifacts(result)).to.include("new.txt");
  });

  it("cannot hold its runner's slot by its output, which nothing but the end of all ends", async () => {
    const hides = `setsid env -i PATH="$PATH" sh -c 'trap "" HUP INT TERM; while :; do sleep 600; done' &`;
    const { result } = await job("run", "--timeout", "2s", "--", "sh", "-c", hides);
    // Its own end counts: it came before the timeout.
    expect(result.outcome, JSON.stringify(result)).to.equal("JOB_STATUS_SUCCEEDED");
  });

  it("does not fill the host's disk with a sparse file", async () => {
    const { lines, result } = await job(
      ...["run", "--disk", "16m", "--timeout", "30s", "--", "truncate", "-s", "6G", "big"],
    );
    expect(result).to.include({ outcome: "JOB_STATUS_FAILED", reason: "TOO_LARGE" });
    expect(result.message).to.include("16 MiB").and.include("sparse");
    expect(lines.some(({ topic }) => topic === "artifacts")).to.equal(true);
  });

  it("does not change what was tested before it is collected", async () => {
    using workspace = tempFolder({ "agent.sh": undoes, "file.txt": "bad\n" });
    const { result } = await job(
      ...["agent", "--workspace", workspace.path, "--apply", "--model", "scripted/replay"],
      ...["--with", "command:sh agent.sh", "--timeout", "60s"],
      ...["--test", "grep -q good file.txt && touch /tmp/ok", "Write good."],
    );
    expect(result.outcome, JSON.stringify(result)).to.equal("JOB_STATUS_SUCCEEDED");
    const { patch, testsBefore, testsAfter } = result.agent as Record<string, string>;
    expect([testsBefore, testsAfter]).to.deep.equal(["failed", "passed"]);
    expect(patch).to.include("+good").and.not.include("EVIL");
  });
});
