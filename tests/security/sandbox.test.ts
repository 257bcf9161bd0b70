/** What a job tries to see, to change and to reach on its host, and the traces that secrets leave. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { homedir, networkInterfaces } from "node:os";
import { join } from "node:path";
import { inspect, promisify } from "node:util";
import { expect } from "chai";
import { ensureGuest } from "../../deploy/guest/ensure-guest.ts";
import { ensureBaseImage, startDocker } from "../../scripts/parts/docker.ts";
import { type Found, missing } from "../../scripts/parts/part.ts";
import { AgentStatus, type IsolationName, JobStatus } from "../../sdk/ts/src/node.ts";
import { startUp, type Up } from "../e2e/up.ts";
import { until } from "../e2e/wait.ts";
import { log, need } from "../parts/need.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";

const canary = () => `sk-${randomBytes(18).toString("hex")}`;

describe("a job in its sandbox", function () {
  this.timeout(120_000);
  const secrets = { env: canary(), cloud: canary(), home: canary() };
  const visits: string[] = [];
  let folder: TempFolder | undefined;
  let up: Up;
  let host: Server;
  let parts: Record<IsolationName, Found<Record<string, string>>>;
  let stopDocker = async () => {};

  before(async function () {
    this.timeout(600_000);
    const docker = await startDocker({ log });
    if (docker.ok) stopDocker = docker.value.stop;
    const image = docker.ok ? await ensureBaseImage(docker.value.socketPath, { log }) : docker;
    const guest = await ensureGuest({ log });
    parts = {
      process: { ok: true, value: {} },
      container:
        docker.ok && image.ok
          ? found({
              DOCKER_HOST: `unix://${docker.value.socketPath}`,
              DOCKER_IMAGE: image.value.image,
            })
          : (image as Found<never>),
      gvisor: missing("no driver asks for it", "none"),
      vm: guest.ok
        ? found({ VM_GUEST_DIR: guest.value.guestDir, QEMU_BINARY: guest.value.binary })
        : guest,
    };
    folder = tempFolder();
    folder.write("home/.ssh/id_canary", secrets.home, 0o644);
    const dataDir = join(folder.path, "data");
    // As careless as can be: what keeps a job out must not be the folder's mode.
    mkdirSync(dataDir, { mode: 0o755 });
    host = createServer((req, res) => {
      visits.push(req.url ?? "");
      res.end("visited");
    }).listen(0, "0.0.0.0");
    up = await startUp({
      dataDir,
      env: {
        HOME: join(folder.path, "home"),
        LOG_LEVEL: "trace",
        PLANTED_SECRET: secrets.env,
        CLOUD_API_KEYS: `anthropic=${secrets.cloud}`,
        SANDBOX_DRIVERS: "process,docker,qemu",
        ...Object.assign({}, ...Object.values(parts).map((part) => (part.ok ? part.value : {}))),
      },
    });
    await until(
      "all drivers are tried",
      async () => {
        const alive = (await up.devmesh.agents.list()).filter(
          ({ status }) => status === AgentStatus.ALIVE,
        );
        const rows = alive.flatMap(({ capabilities }) => capabilities);
        return rows.length > 0 && rows.every(({ pending }) => !pending);
      },
      120_000,
    );
  });
  after(async () => {
    await up?.stop();
    host?.close();
    await stopDocker();
    folder?.[Symbol.dispose]();
  });

  /** Runs a shell program to its end; answers all it wrote. */
  async function attempt(isolation: IsolationName, program: string): Promise<string> {
    const limits = { memoryMib: 256 };
    const command = ["sh", "-c", program];
    const { jobId } = await up.devmesh.jobs.create({ command, isolation, limits });
    let text = "";
    for await (const { kind } of up.devmesh.jobs.watch(jobId)) {
      if (kind.case === "log") text += Buffer.from(kind.value.data).toString();
      if (kind.case !== "result") continue;
      expect(kind.value.outcome, kind.value.message).to.equal(JobStatus.SUCCEEDED);
    }
    return text;
  }

  const allSecrets = () => [
    ...Object.values(secrets),
    up.token,
    readFileSync(join(folder?.path ?? "", "data", "service.token"), "utf8").trim(),
  ];

  function expectNoSecret(text: string, where: string): void {
    for (const secret of allSecrets()) expect(text.includes(secret), where).to.equal(false);
  }

  it("keeps the platform's own secrets from other users of the host", () => {
    for (const name of ["owner.token", "service.token"]) {
      const { mode } = statSync(join(folder?.path ?? "", "data", name));
      expect(mode & 0o777, name).to.equal(0o600);
    }
  });

  const name = `devmesh-escape-${randomBytes(6).toString("hex")}`;
  const data = () => join(folder?.path ?? "", "data");
  const targets = () => ["/etc", "/usr/bin", "/root", homedir(), data(), "/", "/var", "/tmp"];

  /** Everything a job tries, one part after the other: a VM starts only once. */
  const programs = (visit: string): Record<string, string> => ({
    see: [
      "env; set",
      "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline",
      `cat ${data()}/owner.token ${data()}/service.token ${data()}/*.sqlite`,
      `cat ${folder?.path}/home/.ssh/id_canary ~/.ssh/* /root/.ssh/* ${homedir()}/.bash_history`,
      `cat /proc/1/root${data()}/owner.token /proc/self/root${data()}/owner.token`,
      "ls -la / /work; cat /etc/shadow /work/../etc/shadow",
    ].join("\n"),
    write: [
      ...targets().map((at) => `echo x > ${at}/${name}`),
      `ln -s ${data()} out; echo x > out/${name}; echo x > ../${name}`,
      "echo in > /work/ok && cat /work/ok",
    ].join("\n"),
    reach: [
      ...addresses().map(
        (at) =>
          `timeout 2 bash -c 'exec 3<>/dev/tcp/${at}/${portOf(host)} && printf "GET /${visit} HTTP/1.0\\r\\n\\r\\n" >&3 && cat <&3' && echo connected ${at} &`,
      ),
      "wait",
      "timeout 2 getent hosts example.com && echo resolved",
    ].join("\n"),
    be: "for tool in bash timeout getent cat; do command -v $tool; done; grep -E 'CapEff|NoNewPrivs' /proc/self/status",
  });

  it("would be found out: without a sandbox its programs see, write and reach", async () => {
    const { see = "", reach = "" } = programs("control");
    const env = { PATH: process.env.PATH, HOME: homedir(), PLANTED_SECRET: secrets.env };
    const run = promisify(execFile);
    const shell = (program: string) =>
      run("sh", ["-c", `{ ${program}\n} 2>/dev/null; true`], { env, maxBuffer: 1 << 26 });
    const { stdout } = await shell(see);
    for (const secret of [secrets.env, secrets.home, up.token]) {
      expect(stdout.includes(secret)).to.equal(true);
    }
    expect((await shell(reach)).stdout).to.include("connected 127.0.0.1");
    expect(visits.splice(0)).to.include("/control");
  });

  for (const isolation of ["process", "container", "vm"] as const) {
    describe(`of isolation ${isolation}`, () => {
      const told = new Map<string, string>();

      before(async function () {
        need(this, parts[isolation]);
        const sections = Object.entries(programs(isolation)).map(
          ([part, program]) => `echo '=== ${part}'\n{ ${program}\n} 2>/dev/null`,
        );
        const text = await attempt(isolation, [...sections, "echo '=== end'"].join("\n"));
        for (const section of text.split(/^=== /m)) {
          const [part = "", ...lines] = section.split("\n");
          told.set(part, lines.join("\n"));
        }
        expect([...told.keys()]).to.include.members(["see", "write", "reach", "be", "end"]);
      });

      it("sees no secret of the host: not in variables, processes or files", () => {
        const text = told.get("see") ?? "";
        expect(text)
          .to.include("PATH=")
          .and.not.match(/^root:/m);
        expectNoSecret(text, text.slice(0, 2000));
      });

      it("changes nothing outside of its work dir", () => {
        expect(told.get("write")).to.equal("in\n");
        for (const at of targets()) expect(existsSync(join(at, name)), at).to.equal(false);
      });

      it("reaches no network: not the host, not by name, not by address", () => {
        // What it tries with is there.
        expect(told.get("be")).to.match(/bash\n.*timeout\n.*getent\n.*cat\n/);
        expect(told.get("reach")).to.equal("");
        expect(visits).to.deep.equal([]);
      });

      // Root of a machine of its own is nobody's business.
      if (isolation !== "vm") {
        it("holds no capability", () => {
          expect(told.get("be")).to.match(/CapEff:\s+0+\n/);
          expect(told.get("be")).to.match(/NoNewPrivs:\s+1/);
        });
      }
    });
  }

  describe("afterwards", () => {
    it("leaves no secret in logs, events, errors or the audit", async () => {
      // An agent's job has a token of its own, and this one's model is not there.
      const agent = { task: "x", model: "anthropic/none", maxSteps: 1 };
      const { jobId } = await up.devmesh.jobs.create({ agent });
      await up.devmesh.jobs.wait(jobId);
      await up.devmesh.llm.infer({ model: "anthropic/none", input: "x" }).catch(() => {});
      let told = "";
      for await (const { id } of up.devmesh.jobs.list()) {
        for await (const event of up.devmesh.jobs.events(id))
          told += inspect(event, { depth: null });
      }
      told += inspect(await up.devmesh.audit.list().toArray(), {
        depth: null,
        maxArrayLength: null,
      });
      told += inspect(await up.devmesh.tokens.list(), { depth: null, maxArrayLength: null });
      told += inspect(await up.devmesh.system.get(), { depth: null });
      expectNoSecret(told, "the API");
      expect(told).to.not.match(/dm[jl]?_[A-Za-z0-9_-]{20}/);
      expectNoSecret(up.log(), "the log");
      expect(up.log()).to.not.match(/dm[jl]?_[A-Za-z0-9_-]{20}/);
    });
  });
});

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** Where a sandbox might find its host, and the address of clouds' metadata. */
function addresses(): string[] {
  const own = Object.values(networkInterfaces()).flatMap((rows) => rows ?? []);
  const found = own.filter(({ family }) => family === "IPv4").map(({ address }) => address);
  return [...new Set([...found, "10.0.2.2", "169.254.169.254"])];
}

function found(value: Record<string, string>): Found<Record<string, string>> {
  return { ok: true, value };
}
