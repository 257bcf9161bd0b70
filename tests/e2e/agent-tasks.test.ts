/** Every recorded task, on each driver that works here: to a green test run, with a patch that applies. */
import { execFileSync } from "node:child_process";
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { ensureGuest } from "../../deploy/guest/ensure-guest.ts";
import { type DockerEngine, ensureBaseImage, startDocker } from "../../scripts/parts/docker.ts";
import { AgentStatus, type IsolationName, JobStatus } from "../../sdk/ts/src/node.ts";
import { tempFolder } from "../sdk/temp-folder.ts";
import { type DoneTask, doTask, notesOf, recordedTasks, tasksFolder } from "./agent-task.ts";
import { startUp, type Up } from "./up.ts";
import { until } from "./wait.ts";

/** What `devmesh up` is told so that it has a driver; a reason where the driver cannot be had. */
interface Place {
  readonly driver: string;
  readonly isolation: IsolationName;
  prepare(): Promise<Readonly<Record<string, string>> | string>;
}

let engine: DockerEngine | undefined;

const places: readonly Place[] = [
  { driver: "process", isolation: "process", prepare: async () => ({}) },
  {
    driver: "docker",
    isolation: "container",
    prepare: async () => {
      const found = await startDocker();
      if (!found.ok) return found.reason;
      engine = found.value;
      const image = await ensureBaseImage(engine.socketPath);
      if (!image.ok) return image.reason;
      return { DOCKER_HOST: `unix://${engine.socketPath}`, DOCKER_IMAGE: image.value.image };
    },
  },
  {
    driver: "qemu",
    isolation: "vm",
    prepare: async () => {
      const guest = await ensureGuest();
      if (!guest.ok) return guest.reason;
      return { VM_GUEST_DIR: guest.value.guestDir, QEMU_BINARY: guest.value.binary };
    },
  },
];

/** One driver for quick runs, for example `AGENT_TASKS_DRIVERS=process`. */
const wanted = process.env.AGENT_TASKS_DRIVERS?.split(",");

for (const { driver, isolation, prepare } of places) {
  describe(`recorded tasks on ${driver}`, function () {
    this.timeout(300_000);
    const folder = tempFolder();
    let up: Up | undefined;

    before(async function () {
      if (wanted !== undefined && !wanted.includes(driver)) return this.skip();
      const env = await prepare();
      if (typeof env === "string") {
        console.log(`      no ${driver}: ${env}`);
        return this.skip();
      }
      const more = { SCRIPTED_PATH: tasksFolder, SANDBOX_DRIVERS: driver, ...env };
      up = await startUp({ dataDir: folder.path, env: more });
      const { devmesh } = up;
      await until(
        `${driver} works`,
        async () => {
          const alive = (await devmesh.agents.list()).filter((a) => a.status === AgentStatus.ALIVE);
          return alive.some(({ capabilities }) => capabilities.some((row) => row.available));
        },
        120_000,
      );
    });
    after(async () => {
      await up?.stop();
      await engine?.stop();
      engine = undefined;
      folder[Symbol.dispose]();
    });

    for (const task of recordedTasks()) {
      it(`${task.name} ends with its tests passed`, async function () {
        if (up === undefined) return this.skip();
        const done = await doTask(up.devmesh, task, isolation);
        const { result } = done;
        expect(result, result.message).to.include({ outcome: JobStatus.SUCCEEDED, driver });
        expect(result.agent).to.deep.include({ testsBefore: "failed", testsAfter: "passed" });
        expect(result.agent?.commands.at(-1)?.exitCode).to.equal(0);
        expect(result.agent?.summary).to.match(/pass|prove/);
        expectStory(task.name, done);
        // The patch is true: on a fresh copy it makes the tests pass.
        using copy = tempFolder();
        cpSync(task.workspace, copy.path, { recursive: true });
        writeFileSync(join(copy.path, ".patch"), result.agent?.patch ?? "");
        execFileSync("git", ["apply", "--whitespace=nowarn", ".patch"], { cwd: copy.path });
        const [program = "", ...args] = task.testArgv ?? [];
        execFileSync(program, args, {
          cwd: copy.path,
          stdio: "pipe",
          // The tests' own runner is no parent of these.
          env: { PATH: process.env.PATH },
        });
      });
    }
  });
}

/** What a task's log must tell besides its end. */
function expectStory(name: string, { events, result }: DoneTask): void {
  const calls = notesOf(events, "agent.call").join("\n");
  const turns = notesOf(events, "agent.turn");
  expect(turns).to.have.length(result.agent?.steps ?? 0);
  switch (name) {
    case "malformed-call":
      expect(calls).to.include("cut off before its end").and.to.include("did you mean edit_file?");
      return;
    case "protected-test":
      expect(calls.match(/is protected in this job/g)).to.have.length(2);
      expect(result.agent?.patch).not.to.include("test/discount.test.js");
      return;
    case "path-escape":
      expect(calls.match(/is outside the work dir/g)).to.have.length(5);
      return;
    case "unified-diff":
      expect(calls).to.include("change 1 does not fit");
      return;
    case "text-protocol":
      expect(notesOf(events, "agent.log").join()).to.include("plain text");
      return;
    case "budget-ask":
      expect(notesOf(events, "agent.question")).to.have.length(1);
      expect(notesOf(events, "agent.answer")).to.deep.equal(["the agent goes on"]);
      return;
    case "workspace-rules":
      expect(result.agent?.patch).to.include("CHANGES.txt");
      return;
    default:
      expect(notesOf(events, "agent.checkpoint")).not.to.deep.equal([]);
  }
}
