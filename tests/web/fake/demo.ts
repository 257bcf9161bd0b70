/** A fake backend's story for screens: jobs in every status, with logs worth looking at. */
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import type { FakeServer } from "./fake-server.ts";
import { patch } from "./fake-world.ts";

const esc = "\x1b";
const green = (text: string) => `${esc}[32m${text}${esc}[0m`;
const red = (text: string) => `${esc}[31m${text}${esc}[0m`;
const dim = (text: string) => `${esc}[2m${text}${esc}[0m`;
const cyan = (text: string) => `${esc}[36m${text}${esc}[0m`;

/** The jobs of the story by what they show. */
export interface Demo {
  readonly running: string;
  readonly agent: string;
  readonly failed: string;
  readonly queued: string;
}

/** Fills a fake. */
export function playDemo(fake: FakeServer): Demo {
  const { jobs } = fake;
  const command = (script: string, isolation = Isolation.CONTAINER) =>
    jobs.accept({ work: { case: "command", value: { argv: ["sh", "-c", script] } }, isolation }).job
      .id;

  for (const script of ["npm run lint", "go vet ./...", "cargo check --all-targets"]) {
    const id = command(script);
    jobs.start(id);
    jobs.log(id, "no findings\n");
    jobs.finish(id, {
      outcome: JobStatus.SUCCEEDED,
      exitCode: 0,
      driver: "docker",
      isolation: Isolation.CONTAINER,
    });
  }
  const cancelled = command("sleep 3600", Isolation.PROCESS);
  jobs.finish(cancelled, {
    outcome: JobStatus.CANCELLED,
    reason: "CANCELLED",
    message: "cancelled by the console",
  });
  const failed = playFailure(fake, command("npm test -- --grep parser"));
  const agent = playAgent(fake);
  const queued = command("make release", Isolation.VM);
  const running = command("npm ci && npm test");
  playTests(fake, running);
  fake.audit.push(
    { action: "token.create", resource: "tok_01jd8x2m4q6r8t0v2w4y6z8a0c", outcome: "ok" },
    { action: "runner.register", resource: "run-build-1-4f2a", outcome: "ok" },
    { action: "job.create", resource: failed, outcome: "ok" },
    { action: "job.cancel", resource: failed, outcome: "WRONG_STATE" },
    { action: "job.create", resource: running, outcome: "ok" },
  );
  return { running, agent, failed, queued };
}

function playFailure(fake: FakeServer, id: string): string {
  const { jobs } = fake;
  jobs.start(id);
  jobs.log(
    id,
    `  parser\n    ${green("✔")} reads lines\n    ${red("1) reads a last line without an end")}\n`,
  );
  jobs.log(id, `${red("AssertionError")}: expected 1 to equal 2\n`, "stderr");
  jobs.finish(id, {
    outcome: JobStatus.FAILED,
    exitCode: 1,
    reason: "EXIT_STATUS",
    message: "the program ended with exit status 1",
    driver: "docker",
    isolation: Isolation.CONTAINER,
    logBytes: 162n,
    logSha256: "4be1".repeat(16),
    artifacts: [fake.artifact("reports/junit.xml", "<testsuite/>\n")],
  });
  return id;
}

function playAgent(fake: FakeServer): string {
  const { jobs } = fake;
  const task = "Make the parser read a last line that has no line end, and add a test for it.";
  const work = { case: "agent" as const, value: { task, testArgv: ["npm", "test"] } };
  const { id } = jobs.accept({
    work,
    isolation: Isolation.CONTAINER,
    labels: { repo: "parser" },
  }).job;
  jobs.start(id);
  jobs.note(id, "sandbox", "container on docker 27.3, no network but the model gateway");
  jobs.note(id, "context", "6 chunks, 3,412 of 4,000 tokens");
  for (const step of [
    "read_file src/parser.ts",
    "edit_file src/parser.ts",
    "run npm test",
    "edit_file test/parser.test.ts",
    "run npm test",
  ]) {
    jobs.note(id, "agent.step", step);
    jobs.log(id, `${cyan("›")} ${step}\n`);
  }
  jobs.note(id, "agent.budget", "80 % of the tokens are used", "warn");
  jobs.finish(id, {
    outcome: JobStatus.SUCCEEDED,
    driver: "docker",
    isolation: Isolation.CONTAINER,
    logBytes: 204n,
    artifacts: [fake.artifact("changes.patch", patch)],
    agent: {
      summary:
        "The loop took the text behind the last line end as nothing. It now reads to the end of the text. A test covers it.",
      steps: 5,
      inputTokens: 18_204n,
      outputTokens: 1_377n,
      model: "ollama/qwen2.5-coder:7b",
      testsBefore: "failed",
      testsAfter: "passed",
      patch,
    },
  });
  return id;
}

function playTests(fake: FakeServer, id: string): void {
  const { jobs } = fake;
  jobs.start(id);
  jobs.note(id, "sandbox", "container on docker 27.3");
  for (const done of [12, 57, 214]) jobs.log(id, `\rfetching packages ${done}/214`);
  jobs.log(id, "\nadded 214 packages in 4 s\n\n");
  jobs.log(id, `${dim("> devmesh-example@1.0.0 test")}\n${dim("> mocha tests/**/*.test.ts")}\n\n`);
  const suites: [string, string[]][] = [
    [
      "leases",
      [
        "hands a job to one runner",
        "refuses a write under an old epoch",
        "returns a lease that ran out",
        "renews many leases in one call",
      ],
    ],
    [
      "events",
      [
        "numbers events without a gap",
        "passes over events that are there",
        "streams from any number",
        "ends with the result",
      ],
    ],
    [
      "tokens",
      [
        "shows a secret once",
        "hashes it at rest",
        "refuses a scope that the caller lacks",
        "ends a revoked token at once",
      ],
    ],
    [
      "sandboxes",
      [
        "mounts the work dir only",
        "has no network",
        "ends every process with the job",
        "keeps to its memory",
        "leaves nothing behind",
      ],
    ],
  ];
  for (const [suite, names] of suites) {
    jobs.log(id, `  ${esc}[1m${suite}${esc}[0m\n`);
    for (const name of names)
      jobs.log(
        id,
        `    ${green("✔")} ${dim(name)} ${esc}[38;5;208m(${name.length * 3} ms)${esc}[0m\n`,
      );
    jobs.log(id, "\n");
  }
  jobs.log(id, "(node:27) Warning: the exporter was not configured\n", "stderr");
  jobs.log(
    id,
    `  ${esc}[1mcontext packs${esc}[0m\n    ${green("✔")} ${dim("never exceed their budget")}\n`,
  );
}
