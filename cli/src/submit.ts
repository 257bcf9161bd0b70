/** Owns the way of `run` and `agent`: upload, create, follow, fetch what it left. */

import { toJson } from "@bufbuild/protobuf";
import { type CreatedJob, type JobInput, type JobResult, JobStatus } from "@devmesh/sdk";
import { applyChanges, downloadArtifacts, packWorkspace, uploadWorkspace } from "@devmesh/sdk/node";
import { JobSchema } from "@devmesh/sdk/raw";
import type { OptionTable } from "./args.ts";
import type { CommandContext } from "./command.ts";
import { conditionOptions, readConditions } from "./conditions.ts";
import { exitCodes } from "./exit-codes.ts";
import { exitCodeOfResult, followJob } from "./follow.ts";
import { outputFolder } from "./output-place.ts";
import { Progress } from "./progress.ts";
import { createPaint, type Paint } from "./style.ts";
import { formatBytes } from "./table.ts";
import { UsageError } from "./usage-error.ts";

/** The options that `run` and `agent` share. */
export const submitOptions: OptionTable = {
  workspace: { value: "DIR", short: "w", help: "the folder to work in (default: an empty one)" },
  "no-ignore": { help: "send what .gitignore names, too" },
  ...conditionOptions,
  out: { value: "DIR", help: "download the artifacts into this folder" },
  apply: { help: "on success do to the workspace what the job did: write and delete files" },
  detach: { help: "print the job's id and leave" },
  key: { value: "KEY", help: "idempotency key: the same key is the same job (default: a new one)" },
};

/** Hands a job in and, unless detached, follows it to its end. Answers the exit code. */
export async function submitJob(context: CommandContext, work: JobInput): Promise<number> {
  const { args, output, env, interrupts } = context;
  const paint = createPaint(env, output.talkStream);
  const workspace = args.text("workspace");
  if (args.flag("apply") && workspace === undefined) {
    throw new UsageError("--apply needs --workspace", "name the folder that shall get the changes");
  }
  const conditions = readConditions(args);
  const key = args.filled("key");
  const out = args.filled("out");
  // Before the job: what it made could not be saved there.
  if (out !== undefined) await outputFolder("--out", out);
  const workspaceSha256 = workspace && (await sendWorkspace(context, workspace));
  const made = await context
    .devmesh()
    .jobs.create(
      { ...work, ...conditions, ...(workspaceSha256 && { workspaceSha256 }) },
      { signal: interrupts.signal, ...(key !== undefined && { idempotencyKey: key }) },
    );
  await tellCreated(context, made, paint);
  if (args.flag("detach")) return exitCodes.ok;
  const result = await followOrDetach(context, made.jobId, paint);
  if (result === undefined) return exitCodes.interrupted;
  await fetchResults(context, result, workspace, workspaceSha256);
  return exitCodeOfResult(result, true);
}

async function sendWorkspace(context: CommandContext, folder: string): Promise<string> {
  const { args, output, interrupts } = context;
  const { signal } = interrupts;
  const packed = await packWorkspace(folder, { signal, gitignore: !args.flag("no-ignore") });
  const progress = new Progress(output, "uploading");
  try {
    const { present, sizeBytes } = await uploadWorkspace(context.devmesh(), packed, {
      signal,
      onProgress: (sent, total) => progress.update(sent, total),
    });
    progress.end();
    const left = packed.skipped.length === 0 ? "" : `, ${packed.skipped.length} paths left out`;
    const how = present ? "is there already" : "sent";
    await output.talk(
      `workspace: ${packed.fileCount} files, ${formatBytes(sizeBytes)} ${how}${left}`,
    );
    return packed.sha256;
  } finally {
    progress.end();
    await packed.dispose();
  }
}

async function tellCreated(
  { args, output }: CommandContext,
  made: CreatedJob,
  paint: Paint,
): Promise<void> {
  const { jobId, job, replayed } = made;
  if (output.json) {
    const facts = { jobId, replayed, job: toJson(JobSchema, job) };
    await output.document(args.flag("detach") ? facts : { type: "job", ...facts });
  } else if (args.flag("detach")) {
    await output.data(`${jobId}\n`);
  }
  await output.talk(
    `job ${paint("bold", jobId)}${replayed ? " (made before under this key)" : ""}`,
  );
}

/** The first Ctrl-C cancels the job and waits for its end, the second leaves it alone. */
async function followOrDetach(
  context: CommandContext,
  jobId: string,
  paint: Paint,
): Promise<JobResult | undefined> {
  const { output, interrupts } = context;
  const devmesh = context.devmesh();
  const left = new AbortController();
  interrupts.takeOver((count) => {
    if (count > 1) {
      left.abort();
      return;
    }
    void output.talk(`cancelling ${jobId}; once more to leave it to itself`);
    devmesh.jobs.cancel(jobId, { detail: "interrupted at the command line" }).catch((error) => {
      void output.talk(
        `it could not be cancelled: ${error instanceof Error ? error.message : error}`,
      );
    });
  });
  try {
    return await followJob({ devmesh, output, paint }, jobId, { signal: left.signal });
  } catch (error) {
    if (!left.signal.aborted) throw error;
    await output.talk(`left ${jobId} to itself; follow it with \`devmesh jobs watch ${jobId}\``);
    return undefined;
  }
}

async function fetchResults(
  context: CommandContext,
  result: JobResult,
  workspace: string | undefined,
  base = "",
): Promise<void> {
  const { args, output } = context;
  const out = args.text("out");
  if (out !== undefined) {
    const saved = await downloadArtifacts(context.devmesh(), result.artifacts, out);
    for (const { file } of saved) await output.talk(`saved ${file}`);
  }
  if (!args.flag("apply") || workspace === undefined) return;
  if (result.outcome !== JobStatus.SUCCEEDED) {
    await output.talk("the changes are not applied: the job did not succeed");
    return;
  }
  const changes = await applyChanges(context.devmesh(), result.artifacts, workspace, { base });
  if (changes === undefined) {
    await output.talk("nothing to apply: the job changed no files");
    return;
  }
  const { written, deleted } = changes;
  const gone = deleted.length === 0 ? "" : `, deleted ${deleted.length}`;
  await output.talk(`applied ${written.length} files to ${workspace}${gone}`);
}
