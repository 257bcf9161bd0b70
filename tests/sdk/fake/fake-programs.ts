/** The few programs that the fake server can run, by the first word of a command. */

import { durationFromMs, timestampNow } from "@bufbuild/protobuf/wkt";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { pack } from "tar-stream";
import type { FakeBlobs } from "./fake-blobs.ts";
import { artifactOf, type Ending, type Play } from "./fake-jobs.ts";

const done: Ending = { outcome: JobStatus.SUCCEEDED, exitCode: 0 };

/** Every byte value, cut inside of what could be a UTF-8 sequence. */
export const everyByte = Uint8Array.from({ length: 512 }, (_, i) => i % 256);

/** Plays a job: a command by its first word, or an agent that says what it did. */
export function createPlay(blobs: FakeBlobs): Play {
  return async (stage, spec) => {
    if (spec.work.case === "agent") {
      const { task, model, testArgv } = spec.work.value;
      stage.note("agent.step", "read the task");
      stage.stdout(`working on: ${task}\n`);
      const patch = "--- a/x\n+++ b/x\n";
      const artifacts = [artifactOf(blobs, "changes.patch", Buffer.from(patch))];
      const tests = testArgv.length > 0 ? { testsBefore: "failed", testsAfter: "passed" } : {};
      const report = { summary: `did: ${task}`, steps: 2, model: model || "scripted/m", patch };
      return { ...done, artifacts, agent: { ...report, ...tests, inputTokens: 10n } };
    }
    const { argv = [], env = {} } = spec.work.value ?? {};
    const [word, ...rest] = argv;
    switch (word) {
      case "echo":
        stage.stdout(`${rest.join(" ")}\n`);
        return done;
      case "env":
        for (const [key, value] of Object.entries(env)) stage.stdout(`${key}=${value}\n`);
        return done;
      case "both":
        stage.stdout("out\n");
        stage.stderr("err\n");
        return done;
      case "bytes":
        for (let i = 0; i < everyByte.length; i += 67) stage.stdout(everyByte.slice(i, i + 67));
        return done;
      case "exit": {
        const exitCode = Number(rest[0]);
        if (exitCode === 0) return done;
        return failed("EXIT_STATUS", `exit status ${exitCode}`, { exitCode });
      }
      case "many":
        for (let i = 1; i <= Number(rest[0]); i++) stage.stdout(`line ${i}\n`);
        return done;
      case "twice":
        stage.stdout("lost with the first runner\n");
        stage.restart();
        stage.stdout("second attempt\n");
        return done;
      case "timeout":
        return failed("TIMEOUT", "the run time limit was reached", { exitCode: 137 });
      case "silent":
        return failed("SILENT", "no output for 30 s, the silence timeout", { exitCode: 143 });
      case "missing":
        return failed("COMMAND_NOT_FOUND", "there is no program missing");
      case "hang":
        stage.stdout("hanging\n");
        await stage.cancelled();
        return {
          ...{ outcome: JobStatus.CANCELLED, reason: "CANCELLED", message: "on request" },
          cancel: {
            ...{ requestedBy: "tok_1", requestTime: timestampNow(), detail: "on request" },
            steps: [
              { name: "delivered", after: durationFromMs(0) },
              { name: "signalled", after: durationFromMs(2) },
              { name: "stopped", after: durationFromMs(40) },
              { name: "sandbox_removed", after: durationFromMs(95) },
            ],
          },
        };
      case "changes": {
        const tar = await tarOf({ "src/new.txt": "new\n", "old.txt": "changed\n" });
        return { ...done, artifacts: [artifactOf(blobs, "changes.tar", tar)] };
      }
      case "deletes": {
        const list = rest.map((path) => `${path}\0`).join("");
        return { ...done, artifacts: [artifactOf(blobs, "changes.deleted", Buffer.from(list))] };
      }
      case "escape": {
        const tar = await tarOf({ "../escaped.txt": "out\n" });
        return { ...done, artifacts: [artifactOf(blobs, "changes.tar", tar)] };
      }
      default:
        return failed("COMMAND_NOT_FOUND", `there is no program ${word}`);
    }
  };
}

function failed(reason: string, message: string, more: Partial<Ending> = {}): Ending {
  return { outcome: JobStatus.FAILED, reason, message, ...more };
}

/** A tar of these files. */
export async function tarOf(files: Readonly<Record<string, string>>): Promise<Uint8Array> {
  const archive = pack();
  for (const [name, text] of Object.entries(files)) archive.entry({ name }, text);
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive as AsyncIterable<Uint8Array>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
