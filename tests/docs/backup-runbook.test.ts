/** Every command of the backup runbook runs, in its order, as it stands there. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { root, startProgram } from "../e2e/program.ts";
import { startUp } from "../e2e/up.ts";
import { until } from "../e2e/wait.ts";

const run = promisify(execFile);

function commandsOf(page: string): string[] {
  const text = readFileSync(join(root, page), "utf8");
  return [...text.matchAll(/```sh\n([\s\S]*?)```/g)]
    .flatMap((block) => (block[1] ?? "").split("\n"))
    .filter((line) => line.trim() !== "");
}

describe("the backup runbook", function () {
  this.timeout(180_000);

  it("makes a backup, shows it, restores it and starts on it", async () => {
    const cwd = mkdtempSync(join(tmpdir(), "devmesh-runbook-"));
    const up = await startUp({ dataDir: join(cwd, "first") });
    try {
      const { jobId } = await up.devmesh.jobs.create({ command: ["true"] });
      const commands = commandsOf("docs/runbooks/backup.md");
      expect(commands).to.have.length(4);
      const start = commands.pop() ?? "";
      const env = {
        ...process.env,
        HOME: cwd,
        DEVMESH_URL: up.url,
        DEVMESH_TOKEN: up.token,
      };
      for (const command of commands) {
        const here = command.replace(/^npx devmesh/, `node ${join(root, "cli/bin/devmesh.js")}`);
        const { stdout } = await run("sh", ["-c", here], { cwd, env });
        expect(stdout, command).to.not.equal("");
      }
      const args = start.split(" ").slice(2);
      const at = args.indexOf("restored");
      args[at] = join(cwd, "restored");
      const again = startProgram({ args: [...args, "--json"], env: { HOME: cwd } });
      const line = await until("it is up", () => again.out().includes("\n") && again.out());
      const { url } = JSON.parse(line) as { url: string };
      const answer = await fetch(`${url}/v1/jobs/${jobId}`, {
        headers: { authorization: `Bearer ${up.token}` },
      });
      expect(answer.status).to.equal(200);
      await again.end("SIGTERM");
    } finally {
      await up.stop();
      rmSync(cwd, { recursive: true, force: true });
    }
  });
});
