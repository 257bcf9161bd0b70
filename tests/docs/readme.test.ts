/** Every command of the README runs, against a real platform, as it stands there. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { expect } from "chai";
import { findGrpcurl } from "../../scripts/parts/grpcurl.ts";

const root = join(import.meta.dirname, "..", "..");
const run = promisify(execFile);

/** Commands of the README's `sh` blocks, in order. */
function commandsOf(page: string): string[] {
  const text = readFileSync(join(root, page), "utf8");
  return [...text.matchAll(/```sh\n([\s\S]*?)```/g)]
    .flatMap((block) => (block[1] ?? "").split("\n"))
    .filter((line) => line.trim() !== "");
}

/** What other tests and the CI run as they are: here they would run themselves. */
const runElsewhere = /^npm (run demo|test|run up)\b/;

describe("the README's commands", function () {
  this.timeout(180_000);
  let platform: ChildProcess;
  let url = "";
  const dataDir = mkdtempSync(join(tmpdir(), "devmesh-readme-"));

  before(async () => {
    const args = ["cli/bin/devmesh.js", "up", "--json", "--dev", "--api-port", "0"];
    platform = spawn(
      process.execPath,
      [...args, "--private-ports", "auto", "--data-dir", dataDir],
      { cwd: root, stdio: ["ignore", "pipe", "inherit"] },
    );
    const { stdout } = platform;
    if (stdout === null) throw new Error("no output");
    const line = await new Promise<string>((resolve, reject) => {
      createInterface(stdout).once("line", resolve);
      platform.once("exit", (code) => reject(new Error(`up ended with status ${code}`)));
    });
    url = (JSON.parse(line) as { url: string }).url;
  });

  after(async () => {
    const ended = new Promise((resolve) => platform.once("exit", resolve));
    platform.kill("SIGTERM");
    await ended;
    rmSync(dataDir, { recursive: true, force: true });
  });

  it("are there", () => {
    expect(commandsOf("README.md").length).to.be.greaterThan(8);
  });

  for (const command of commandsOf("README.md").filter((line) => !runElsewhere.test(line))) {
    it(command, async function () {
      const env: NodeJS.ProcessEnv = { ...process.env, DEVMESH_URL: url };
      env.DEVMESH_DATA_DIR = dataDir;
      if (command.startsWith("grpcurl")) {
        const found = await findGrpcurl();
        if (!found.ok) {
          console.log(`    skipped: ${found.reason}; ${found.remedy}`);
          return this.skip();
        }
        env.PATH = `${join(found.value.path, "..")}:${env.PATH}`;
      }
      const { host } = new URL(url);
      const here = command.replaceAll("127.0.0.1:8080", host);
      if (command.includes("node --test")) {
        // The example has a failing test on purpose: the exit status is the command's.
        const failed = await run("sh", ["-c", here], { cwd: root, env }).catch((e: unknown) => e);
        expect(failed).to.have.property("code", 1);
        return;
      }
      const { stdout, stderr } = await run("sh", ["-c", here], { cwd: root, env });
      expect(`${stdout}${stderr}`.length).to.be.greaterThan(0);
    });
  }
});
