/** Programs and agents that mean no good, in every kind of sandbox: typed ends, and nothing is left. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { type JobConditions, JobStatus } from "../../sdk/ts/src/node.ts";
import { tempFolder } from "../sdk/temp-folder.ts";
import { type EndedJob, HostileBed } from "./hostile-bed.ts";
import { placesFor, type SandboxPlace } from "./sandbox-places.ts";

/** A program, and what must become of it. */
interface Hostile {
  readonly name: string;
  /** For `sh -c`. */
  readonly script: string;
  readonly limits?: JobConditions["limits"];
  /** Absent: it succeeds. */
  readonly reason?: string;
  readonly exitCode?: number;
  readonly look?: (ended: EndedJob) => void;
}

const bomb = "b() { b & b; }; b 2>/dev/null";
const fill = "exec dd if=/dev/zero of=/work/full bs=1M";
const stubborn = "trap '' TERM; while :; do sleep 1; done";
const asleep = "exec sleep 600";
const soon = { runTimeoutMs: 2_000 };
const escapes = "\x1b]0;title\x07\x1b[2J\x1b[31m\x1bP1$t\x1b\\\x9b\x00";
const octal = [...Buffer.from(escapes, "latin1")]
  .map((byte) => `\\${byte.toString(8).padStart(3, "0")}`)
  .join("");

const programs: readonly Hostile[] = [
  {
    name: "uses more and more memory",
    script: "exec perl -e 'my @x; push @x, q(x) x (1 << 20) for 1 .. 1024; sleep 9'",
    ...{ reason: "OUT_OF_MEMORY", exitCode: 137 },
  },
  {
    name: "asks for too much memory at once",
    script: "exec perl -e '$x = q(x) x (768 << 20); sleep 9'",
    ...{ reason: "OUT_OF_MEMORY", exitCode: 137 },
  },
  {
    name: "starts too many processes",
    script: "n=0; while [ $n -lt 400 ]; do sleep 5 & n=$((n+1)); done; exit 3",
    reason: "PIDS_LIMIT",
  },
  { name: "forks for ever", script: bomb, reason: "PIDS_LIMIT" },
  { name: "fills the disk", script: fill, reason: "DISK_FULL" },
  {
    name: "uses the processor",
    script: "timeout 2 sh -c 'while :; do :; done' || true",
    limits: { cpuMillis: 100 },
    look: ({ result }) => expect(Number(result.usage?.throttledMs)).to.be.greaterThan(0),
  },
  { name: "sleeps for ever", script: asleep, limits: soon, reason: "TIMEOUT" },
  {
    name: "says nothing",
    ...{ script: asleep, limits: { silenceTimeoutMs: 2_000 }, reason: "SILENT" },
  },
  { name: "ignores SIGTERM", script: stubborn, limits: soon, reason: "TIMEOUT", exitCode: 137 },
  {
    name: "fills stdout",
    ...{ script: "exec yes", limits: { runTimeoutMs: 3_000 }, reason: "TIMEOUT" },
    look: ({ result, log }) => {
      expect(Number(result.logBytes)).to.equal(log.length);
      expect(log.subarray(0, 4).toString()).to.equal("y\ny\n");
    },
  },
  {
    name: "closes stdout",
    script: "exec >&- 2>&-; i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; exit 7",
    ...{ reason: "EXIT_STATUS", exitCode: 7 },
  },
  {
    name: "prints terminal escapes",
    script: `printf '${octal}'`,
    look: ({ log }) => expect(log.toString("latin1")).to.equal(escapes),
  },
];

/** Agents that are any program: whatever ends the program is told of the agent. */
const agents: readonly Hostile[] = [
  { name: "forks for ever", script: bomb, reason: "PIDS_LIMIT" },
  { name: "fills the disk", script: fill, reason: "DISK_FULL" },
  {
    name: "uses too much memory",
    script: "exec perl -e '$x = q(x) x (768 << 20); sleep 9'",
    reason: "OUT_OF_MEMORY",
  },
  { name: "never ends", script: asleep, limits: soon, reason: "TIMEOUT" },
  { name: "ignores SIGTERM", script: stubborn, limits: soon, reason: "TIMEOUT" },
  { name: "fills stdout", script: "exec yes", limits: soon, reason: "TIMEOUT" },
  { name: "closes stdout", script: "exec >&- 2>&-; exit 7", reason: "EXIT_STATUS", exitCode: 7 },
  { name: "prints terminal escapes", script: `printf '${octal}'` },
];

/** The models of the agents: one that says a word, one that calls a tool with 10 MB. */
const script = {
  models: [{ name: "replay", roles: ["chat", "coding"], contextTokens: 200_000 }],
  conversations: [
    {
      when: { contains: "Write much", tools: true },
      turns: [
        {
          pieces: [
            {
              toolCall: {
                name: "write_file",
                arguments: { path: "much.txt", content: "m".repeat(10 * 1024 * 1024) },
              },
            },
          ],
        },
        {
          pieces: [{ toolCall: { name: "finish", arguments: { summary: "I have tried." } } }],
        },
      ],
    },
    { when: { contains: "Be bad" }, turns: [{ pieces: [{ text: "No." }] }] },
  ],
};

for (const place of placesFor()) hostileSuite(place);

function hostileSuite(place: SandboxPlace): void {
  const { driver, small } = place;
  describe(`in a ${driver} sandbox a job`, function () {
    this.timeout(240_000);
    let bed: HostileBed | undefined;

    before(async function () {
      this.timeout(600_000);
      using folder = tempFolder();
      const path = join(folder.path, "script.json");
      writeFileSync(path, JSON.stringify(script));
      bed = await HostileBed.open(this, place, { SCRIPTED_PATH: path });
    });
    after(() => bed?.close());

    const running = () => {
      if (bed === undefined) throw new Error("the platform does not run");
      return bed;
    };

    async function expectEnd(ended: EndedJob, { reason = "", exitCode, look }: Hostile) {
      const { result } = ended;
      expect(result.reason, result.message).to.equal(reason);
      const outcome = reason === "" ? JobStatus.SUCCEEDED : JobStatus.FAILED;
      expect(result).to.include({ outcome, driver });
      if (exitCode !== undefined) expect(result.exitCode).to.equal(exitCode);
      expect(result.message).to.not.match(/\.ts:|node:|\n\s+at /);
      look?.(ended);
      await running().expectNothingLeft();
    }

    for (const row of programs) {
      it(`that ${row.name} ends with ${row.reason ?? "success"}`, async () => {
        await expectEnd(await running().shell(row.script, { ...small, ...row.limits }), row);
      });
    }

    // What an agent is does not depend on the kernel that holds it.
    const own = driver === "process" || driver === "docker" ? agents : [];
    for (const row of own) {
      it(`whose agent ${row.name} ends with ${row.reason ?? "success"}`, async () => {
        const harnessArgv = ["sh", "-c", row.script];
        const agent = { task: "Be bad.", harness: "command", harnessArgv } as const;
        const ended = await running().run({ agent, limits: { ...small, ...row.limits } });
        await expectEnd(ended, row);
      });
    }

    it("whose agent calls a tool with 10 MB is told what came of it", async () => {
      const agent = { task: "Write much.", model: "scripted/replay" };
      const limits = { ...small, memoryMib: 768, pids: 256 };
      const { result, events } = await running().run({ agent, limits });
      const calls = events.flatMap(({ kind }) =>
        kind.case === "note" && kind.value.topic === "agent.call" ? [kind.value.message] : [],
      );
      expect(result.reason, `${result.message} ${calls.join("; ")}`).to.equal("");
      await running().expectNothingLeft();
    });
  });
}
