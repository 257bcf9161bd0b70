/** Folders on the way in, patches and files on the way out, and the coding agent between. */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import {
  downloadArtifacts,
  type JobInput,
  type JobResult,
  JobStatus,
  packWorkspace,
  unpackArtifact,
  uploadWorkspace,
} from "../../sdk/ts/src/node.ts";
import { tempFolder } from "../sdk/temp-folder.ts";
import type { FlowPlatform, GetPlatform } from "./main-flow.ts";
import { root } from "./program.ts";

/** Runs work on a folder and answers its job's end. */
export async function runOnFolder(
  { devmesh }: Pick<FlowPlatform, "devmesh">,
  folder: string,
  work: Pick<JobInput, "command" | "agent" | "runnerLabels">,
): Promise<{ jobId: string; result: JobResult }> {
  const packed = await packWorkspace(folder);
  try {
    await uploadWorkspace(devmesh, packed);
  } finally {
    await packed.dispose();
  }
  const input = { ...work, workspaceSha256: packed.sha256 } as JobInput;
  const { jobId } = await devmesh.jobs.create(input);
  return { jobId, result: await devmesh.jobs.wait(jobId) };
}

async function applyPatch({ devmesh }: FlowPlatform, result: JobResult, folder: string) {
  using out = tempFolder();
  const saved = await downloadArtifacts(devmesh, result.artifacts, out.path);
  const patch = saved.find(({ name }) => name === "changes.patch")?.file ?? "";
  execFileSync("git", ["apply", "--whitespace=nowarn", patch], { cwd: folder, stdio: "pipe" });
}

/** The folders' tests. */
export function workspaceTests(get: GetPlatform): void {
  it("takes a folder in, and a patch that git applies and the changed files out", async () => {
    using before = tempFolder({
      "a.txt": "one\ntwo\nthree\n",
      "gone.txt": "to be removed\n",
      "deep/no newline.txt": "no newline",
      "same.txt": "same\n",
    });
    const program = [
      "cat a.txt",
      "sed -i s/two/2/ a.txt",
      "rm gone.txt",
      "printf 'no newline still' > 'deep/no newline.txt'",
      "mkdir new",
      "printf 'fresh\\n' > new/b.txt",
      "printf '#!/bin/sh\\n' > run.sh",
      "chmod +x run.sh",
    ].join(" && ");
    const { result } = await runOnFolder(get(), before.path, { command: ["sh", "-c", program] });
    expect(result).to.include({ outcome: JobStatus.SUCCEEDED, message: "" });

    await applyPatch(get(), result, before.path);
    const read = (name: string) => readFileSync(join(before.path, name), "utf8");
    expect(read("a.txt")).to.equal("one\n2\nthree\n");
    expect(read("deep/no newline.txt")).to.equal("no newline still");
    expect(read("new/b.txt")).to.equal("fresh\n");
    expect(read("run.sh")).to.equal("#!/bin/sh\n");
    expect(existsSync(join(before.path, "gone.txt"))).to.equal(false);

    using after = tempFolder();
    const tar = result.artifacts.find(({ name }) => name === "changes.tar");
    if (tar === undefined) throw new Error("there is no changes.tar");
    const { written } = await unpackArtifact(get().devmesh, tar, after.path);
    expect(written.toSorted()).to.deep.equal(
      ["a.txt", "deep/no newline.txt", "new/b.txt", "run.sh"].toSorted(),
    );
  });
}

/** The coding agent's test. */
export function agentTests(get: GetPlatform): void {
  it("lets the agent fix examples/ledger until its tests pass", async () => {
    using copy = tempFolder();
    cpSync(join(root, "examples", "ledger"), copy.path, { recursive: true });
    const agent = {
      task: "A test of this project fails. Find the bug and make the tests pass.",
      model: "scripted/ledger-replay",
      testArgv: ["node", "--test"],
    };
    const { jobId, result } = await runOnFolder(get(), copy.path, { agent });
    expect(result, result.message).to.include({ outcome: JobStatus.SUCCEEDED });
    expect(result.agent).to.include({ testsBefore: "failed", testsAfter: "passed", steps: 11 });
    expect(result.agent?.model).to.equal("scripted/ledger-replay");
    const steps = [];
    for await (const { kind } of get().devmesh.jobs.events(jobId)) {
      if (kind.case === "note" && /^agent\.(turn|call)$/.test(kind.value.topic))
        steps.push(kind.value);
    }
    expect(steps.length).to.be.greaterThan(11);

    await applyPatch(get(), result, copy.path);
    execFileSync(process.execPath, ["--test"], {
      cwd: copy.path,
      stdio: "pipe",
      // The tests' own runner is no parent of these.
      env: { PATH: process.env.PATH },
    });
  });
}
