/** What only real isolation can meet: files, processes, network, mounts and rights of the host. */
import { once } from "node:events";
import { chmod, mkdtemp, readdir, readFile, realpath, rm, stat, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, type Server } from "node:net";
import { homedir, networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { ReadOnlyMount, Sandbox, SandboxSpec } from "../driver.ts";
import {
  archive,
  finish,
  needs,
  type RunResult,
  refusal,
  type SuiteContext,
  sandboxWithPrograms,
  shell,
  suiteSpec,
} from "./harness.ts";

const secret = `secret-${process.pid}-${Date.now()}`;

/** Defines the tests of isolation. */
export function isolationTests(context: SuiteContext): void {
  describe("isolation", () => {
    it("lets nothing be written outside of /work and /tmp", async function () {
      needs(context, "isolation", this);
      const sandbox = await sandboxWithPrograms(context);
      const { text } = await shell(
        sandbox,
        `for d in / /usr /usr/bin /bin /etc /opt /run /var /home /root /dev /proc /sys /mnt; do
           (echo x > "$d/devmesh-written") 2>/dev/null && echo "$d"; done
         echo x > /work/w && echo x > /tmp/w && echo own; exit 0`,
      );
      expect(text).to.equal("own\n");
    });

    it("hides the host's files and variables", async function () {
      needs(context, "isolation", this);
      const folders = [homedir(), tmpdir(), process.cwd(), "/etc", "/var/tmp", "/root", "/home"];
      const planted: string[] = [];
      process.env.DEVMESH_SUITE_CANARY = secret;
      try {
        for (const folder of new Set(folders)) {
          const path = join(folder, `.devmesh-suite-canary-${process.pid}`);
          if (await canWrite(path)) planted.push(path);
        }
        expect(planted).to.not.deep.equal([]);
        const sandbox = await sandboxWithPrograms(context);
        const { text, stderr } = await shell(
          sandbox,
          `for p in ${planted.join(" ")} /etc/shadow /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do cat "$p"; done
           for r in /proc/[0-9]*/root /proc/[0-9]*/cwd; do for p in ${planted.join(" ")}; do cat "$r$p"; done; done
           find / -xdev -name '*devmesh-suite-canary*' -print; echo done`,
        );
        expect(text).to.include("done");
        // The script's own text has the names in it, and is on its command line.
        const seen = text
          .replaceAll("\0", " ")
          .split("\n")
          .filter((line) => line.startsWith("/"));
        expect(seen).to.deep.equal([]);
        expect(`${text}${stderr}`).to.not.include(secret);
        expect(text).to.not.include("root:$");
      } finally {
        delete process.env.DEVMESH_SUITE_CANARY;
        for (const path of planted) await rm(path);
      }
    });

    it("shows no process of the host or of another sandbox", async function () {
      needs(context, "isolation", this);
      const one = await sandboxWithPrograms(context);
      const two = await sandboxWithPrograms(context);
      const running = await one.exec({ argv: ["sleep", "61234"], env: {} });
      const { text } = await shell(two, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
      expect(text).to.not.include("sleep 61234");
      expect(text).to.not.include("mocha");
      await running.signal("SIGKILL");
      await running.exit;
    });

    it("runs without rights: not as root, no capabilities, no way to new ones", async function () {
      needs(context, "hardening", this);
      const sandbox = await sandboxWithPrograms(context);
      const { text } = await shell(sandbox, "id -u; id -g; cat /proc/self/status");
      expect(text).to.match(/^[1-9]\d*\n[1-9]\d*\n/);
      for (const set of ["CapEff", "CapPrm"]) expect(text).to.include(`${set}:\t0000000000000000`);
      if (context.traits.ownProc === undefined) {
        expect(text).to.include("CapAmb:\t0000000000000000");
        expect(text).to.include("NoNewPrivs:\t1");
        expect(text).to.include("Seccomp:\t2");
      }
      // A kernel of its own may give what is worth nothing outside of it.
      const own = context.traits.ownProc === undefined ? '"unshare -U true" ' : "";
      const tries = await shell(
        sandbox,
        `for try in ${own}"unshare -m true" "mount -t tmpfs x /tmp" "chroot / true" "mknod /tmp/n c 1 3"; do
           $try 2>/dev/null && echo "$try"; done; exit 0`,
      );
      expect(tries.text).to.equal("");
    });

    it("is no root on the host either", async function () {
      needs(context, "hostProcess", this);
      const sandbox = await sandboxWithPrograms(context);
      const running = await sandbox.exec({ argv: ["sleep", "62345"], env: {} });
      const owners: number[] = [];
      for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
        try {
          if ((await readFile(`/proc/${pid}/cmdline`, "latin1")) !== "sleep\x0062345\0") continue;
          owners.push((await stat(`/proc/${pid}`)).uid);
        } catch {
          // A process that ended while we looked: not ours, which sleeps.
        }
      }
      expect(owners.length).to.equal(1);
      expect(owners).to.not.include(0);
      await running.signal("SIGKILL");
      await running.exit;
    });

    it("has no network: no interface, and no way to the host", async function () {
      needs(context, "network", this);
      const server = createServer((socket) => socket.end("reached"));
      server.listen(0, "0.0.0.0");
      await once(server, "listening");
      const sandbox = await withNode(context);
      try {
        const { text } = await shell(sandbox, "cat /proc/net/dev");
        const interfaces = [...text.matchAll(/^\s*([^\s:|]+):/gm)].map(([, name]) => name);
        expect(interfaces).to.deep.equal(["lo"]);
        const { port } = server.address() as AddressInfo;
        const hosts = Object.values(networkInterfaces()).flatMap((all) =>
          (all ?? []).map((a) => a.address),
        );
        for (const host of new Set(["127.0.0.1", "::1", "169.254.169.254", "1.1.1.1", ...hosts])) {
          const { text: said } = await node(sandbox, connect, [host, String(port)]);
          expect(said, host).to.match(/^refused E/);
        }
      } finally {
        await close(server);
      }
    });

    it("reaches the backend's socket where it is given, and only there", async function () {
      needs(context, "network", this);
      const folder = await mkdtemp(join(tmpdir(), "devmesh-suite-"));
      const path = join(folder, "b.sock");
      const server = createServer((socket) =>
        socket.on("data", (data) => socket.end(`host heard ${data}`)),
      );
      server.listen(path);
      await once(server, "listening");
      try {
        const sandbox = await withNode(context, { doors: [{ name: "backend", socketPath: path }] });
        const args = ["/run/devmesh/backend.sock"];
        expect((await node(sandbox, connect, args)).text).to.equal("reached: host heard hello");
        expect((await node(sandbox, connect, args)).text).to.equal("reached: host heard hello");
        const { text } = await shell(
          sandbox,
          "cd /run/devmesh; echo *; rm -f backend.sock; echo *",
        );
        expect(text).to.equal("backend.sock\nbackend.sock\n");
        const without = await withNode(context);
        expect((await node(without, connect, args)).text).to.match(/^refused E/);
      } finally {
        await close(server);
        await rm(folder, { recursive: true });
      }
    });

    it("shows mounts, and lets nobody write to them", async function () {
      needs(context, "mounts", this);
      const folder = await mkdtemp(join(tmpdir(), "devmesh-suite-"));
      try {
        await chmod(folder, 0o755);
        await writeFile(join(folder, "tool"), "#!/bin/sh\necho tool runs\n", { mode: 0o777 });
        const sandbox = await context.subject().driver.create(
          suiteSpec({
            mounts: [
              { hostPath: folder, sandboxPath: "/opt/devmesh/tools" },
              { hostPath: join(folder, "tool"), sandboxPath: "/opt/devmesh/one" },
            ],
          }),
        );
        for (const argv of [["/opt/devmesh/tools/tool"], ["/opt/devmesh/one"]]) {
          expect((await finish(await sandbox.exec({ argv, env: {} }))).text).to.equal(
            "tool runs\n",
          );
        }
        const tries = await shell(
          sandbox,
          `(echo x > /opt/devmesh/tools/new) && echo new; (echo x >> /opt/devmesh/one) && echo one
           rm -f /opt/devmesh/tools/tool && echo rm; chmod 700 /opt/devmesh/one && echo chmod; exit 0`,
        );
        expect(tries.text).to.equal("");
        expect(await readdir(folder)).to.deep.equal(["tool"]);
      } finally {
        await rm(folder, { recursive: true });
      }
    });

    it("shows mounts that only the host's user can reach", async function () {
      needs(context, "mounts", this);
      const folder = await mkdtemp(join(tmpdir(), "devmesh-suite-"));
      try {
        await chmod(folder, 0o700);
        await writeFile(join(folder, "tool"), "#!/bin/sh\necho tool runs\n");
        await chmod(join(folder, "tool"), 0o755);
        const mounts = [{ hostPath: join(folder, "tool"), sandboxPath: "/opt/devmesh/tool" }];
        const sandbox = await context.subject().driver.create(suiteSpec({ mounts }));
        const running = await sandbox.exec({ argv: ["/opt/devmesh/tool"], env: {} });
        expect((await finish(running)).text).to.equal("tool runs\n");
        await sandbox.delete();
        expect(await readdir(folder)).to.deep.equal(["tool"]);
      } finally {
        await rm(folder, { recursive: true });
      }
    });

    it("does not start with a mount or a socket that is not there", async function () {
      needs(context, "mounts", this);
      const { driver } = context.subject();
      const missing = { mounts: [{ hostPath: "/none/such", sandboxPath: "/opt/devmesh/x" }] };
      expect(await refusal(driver.create(suiteSpec(missing)))).to.equal("SANDBOX_FAILED");
      const astray = { mounts: [{ hostPath: tmpdir(), sandboxPath: "/opt/devmesh/../../etc" }] };
      expect(await refusal(driver.create(suiteSpec(astray)))).to.equal("SANDBOX_FAILED");
      const socket = { doors: [{ name: "backend" as const, socketPath: "/none/such.sock" }] };
      expect(await refusal(driver.create(suiteSpec(socket)))).to.equal("SANDBOX_FAILED");
      expect(driver.list()).to.deep.equal([]);
    });
  });
}

/** Prints what a connection to a path, or to a host and port, comes to. */
const connect = `
const [path, port] = process.argv.slice(2);
const socket = require("node:net").connect(port ? { host: path, port: Number(port) } : { path });
socket.setTimeout(2000, () => socket.destroy(Object.assign(new Error(), { code: "ETIMEDOUT" })));
socket.on("connect", () => socket.write("hello"));
let text = "";
socket.on("data", (data) => (text += data));
socket.on("end", () => process.stdout.write("reached: " + text));
socket.on("error", (error) => process.stdout.write("refused " + error.code));
`;

async function withNode(
  context: SuiteContext,
  overrides: Partial<SandboxSpec> = {},
): Promise<Sandbox> {
  const mounts: ReadOnlyMount[] = [
    { hostPath: await realpath(process.execPath), sandboxPath: "/opt/devmesh/node" },
  ];
  const limits = { memoryMib: 512, cpuMillis: 2000, pids: 512, diskMib: 96 };
  return context.subject().driver.create(suiteSpec({ mounts, limits, ...overrides }));
}

async function node(sandbox: Sandbox, script: string, args: readonly string[]): Promise<RunResult> {
  await sandbox.put(archive([{ name: "script.cjs", data: script }]));
  const argv = ["/opt/devmesh/node", "/work/script.cjs", ...args];
  return finish(await sandbox.exec({ argv, env: {} }));
}

async function canWrite(path: string): Promise<boolean> {
  try {
    await writeFile(path, secret, { mode: 0o644, flag: "wx" });
    return true;
  } catch {
    // A folder that is not there or not ours: nothing to plant, nothing to find.
    return false;
  }
}

async function close(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  await closed;
}
