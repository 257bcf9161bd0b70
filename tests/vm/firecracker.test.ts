/**
 * The Firecracker driver against a stand-in of its programs and API: what it asks for, and what
 * it makes of every answer. No real Firecracker runs here.
 */

import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { FirecrackerApi } from "../../services/vm/drivers/firecracker/api-client.ts";
import { FirecrackerDriver } from "../../services/vm/drivers/firecracker/firecracker-driver.ts";
import { jailerArguments } from "../../services/vm/drivers/firecracker/jail.ts";
import { finish, suiteSpec } from "../../services/vm/drivers/suite/harness.ts";

const standIn = new URL("firecracker-stand-in.ts", import.meta.url).pathname;
const fixture = new URL("firecracker-requests.json", import.meta.url);

const settled = (call: Promise<unknown>) =>
  call.then(
    () => "no error",
    (error) => error,
  );

describe("Firecracker", function () {
  this.timeout(60_000);
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "devmesh-fc-"));
    await chmod(folder, 0o755);
  });

  after(() => rm(folder, { recursive: true, force: true }));

  describe("its API", () => {
    let server: Server | undefined;

    afterEach(() => {
      server?.close();
    });

    /** A client of a server that says these bytes to every request, and then what `end` does. */
    const clientOf = async (
      bytes: Buffer | string,
      end: "end" | "keep" | "destroy",
      timeoutMs = 2_000,
    ) => {
      const socketPath = join(folder, `api-${Math.random()}.sock`);
      server = createServer((socket) => {
        socket.on("error", () => {});
        socket.once("data", () => {
          socket.write(bytes);
          if (end === "end") socket.end();
          if (end === "destroy") socket.destroy();
        });
      });
      server.listen(socketPath);
      await once(server, "listening");
      return new FirecrackerApi({ socketPath, timeoutMs });
    };
    const get = { method: "GET", path: "/" } as const;

    it("answers what Firecracker said", async () => {
      const body = '{"id":"x","state":"Running"}';
      const head = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
      expect(await (await clientOf(head + body, "end")).send(get)).to.deep.equal({
        id: "x",
        state: "Running",
      });
      expect(await (await clientOf("HTTP/1.1 204 No Content\r\n\r\n", "end")).send(get)).to.equal(
        undefined,
      );
    });

    it("quotes a refusal", async () => {
      const body = '{"fault_message":"The drive is busy"}';
      const head = `HTTP/1.1 400 Bad Request\r\nContent-Length: ${body.length}\r\n\r\n`;
      const error = await settled((await clientOf(head + body, "end")).send(get));
      expect(error).to.include({ reason: "SANDBOX_FAILED" });
      expect(String(error)).to.include("The drive is busy");
    });

    const bad: [string, string, "end" | "keep" | "destroy"][] = [
      ["noise", "\0\x01\x02noise\r\n\r\n", "end"],
      ["nothing", "", "end"],
      ["silence", "", "keep"],
      ["a reset", "HT", "destroy"],
      ["a cut head", "HTTP/1.1 200 OK\r\nContent-Le", "end"],
      ["a cut body", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "end"],
      ["a body that stops", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "keep"],
      ["no JSON", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nokay", "end"],
      [
        "a body of a megabyte",
        `HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n${"[".repeat(1 << 20)}`,
        "end",
      ],
      ["a bare 500", "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "end"],
      ["a redirect", "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "end"],
      [
        "a fault that is none",
        'HTTP/1.1 400 Bad\r\nContent-Length: 20\r\n\r\n{"fault_message":17}',
        "end",
      ],
    ];
    for (const [what, bytes, end] of bad) {
      it(`makes a typed error of ${what}`, async () => {
        const error = await settled((await clientOf(bytes, end, 400)).send(get));
        expect(error, String(error)).to.include({ reason: "SANDBOX_FAILED" });
      });
    }

    it("makes a typed error or an answer of anything, in time", async () => {
      let state = 7;
      const random = (below: number) => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
        return (state >>> 8) % below;
      };
      const good = 'HTTP/1.1 400 Bad Request\r\nContent-Length: 23\r\n\r\n{"fault_message":"why"}';
      for (let round = 0; round < 150; round++) {
        const bytes = Buffer.from(good);
        for (let flips = 1 + random(6); flips > 0; flips--)
          bytes.writeUInt8(random(256), random(bytes.length));
        const cut = bytes.subarray(0, 1 + random(bytes.length));
        const client = await clientOf(cut, random(2) === 0 ? "end" : "destroy", 1_000);
        const error = await settled(client.send(get));
        if (error !== "no error") expect(error).to.include({ reason: "SANDBOX_FAILED" });
        server?.close();
      }
    });

    it("is cancelled, and fails where nobody listens", async () => {
      const stop = new AbortController();
      const call = settled((await clientOf("", "keep")).send(get, stop.signal));
      stop.abort();
      expect(await call).to.include({ reason: "CANCELLED" });
      const nobody = new FirecrackerApi({ socketPath: join(folder, "none.sock") });
      expect(await settled(nobody.send(get))).to.include({ reason: "SANDBOX_FAILED" });
    });
  });

  it("asks a jail for a user, namespaces, caps and an API socket", () => {
    const jail = {
      jailer: "/j",
      firecracker: "/bin/firecracker",
      id: "sbx-1",
      base: "/b",
      uid: 64_001,
      memoryMib: 448,
      cpuMillis: 500,
    };
    expect(jailerArguments({ ...jail, cgroupVersion: 2 }).join(" ")).to.equal(
      "--id sbx-1 --exec-file /bin/firecracker --uid 64001 --gid 64001 --chroot-base-dir /b --cgroup-version 2 " +
        "--cgroup memory.max=469762048 --cgroup cpu.max=50000 100000 --resource-limit no-file=256 --new-pid-ns -- --api-sock /api.sock",
    );
    expect(jailerArguments({ ...jail, cgroupVersion: 1 })).to.include("cpu.cfs_quota_us=50000");
  });

  describe("its driver", () => {
    let guestDir: string;

    before(async function () {
      if (process.platform !== "linux" || process.getuid?.() !== 0) return this.skip();
      guestDir = join(folder, "guest");
      await mkdir(guestDir);
      for (const name of ["vmlinux", "initramfs.cpio", "root.ext4"]) {
        await writeFile(join(guestDir, name), "something");
      }
      const manifest = { version: 2, bootDigest: "b", rootDigest: "r" };
      await writeFile(join(guestDir, "guest.json"), JSON.stringify(manifest));
    });

    let count = 0;
    const make = async (how: string, more = {}) => {
      const place = join(folder, `driver-${count++}`);
      await mkdir(place);
      const script = async (name: string, text: string) => {
        await writeFile(join(place, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
        return join(place, name);
      };
      const notes = join(place, "notes");
      const options = {
        stateDir: join(place, "state"),
        guestDir,
        kvmPath: "/dev/null",
        binary: await script("firecracker", "echo Firecracker v1.99.0"),
        jailer: await script(
          "jailer",
          `exec ${process.execPath} ${standIn} '${how}' '${notes}' "$@"`,
        ),
        bootLimitMs: 20_000,
      };
      const driver = new FirecrackerDriver({ ...options, ...more });
      const requests = async () =>
        (await readFile(notes, "utf8"))
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line));
      const left = () => readdir(join(options.stateDir, "firecracker")).catch(() => []);
      return { driver, requests, left };
    };

    it("sends the requests of the fixture, in their order, and runs a program", async () => {
      const { driver, requests, left } = await make("good");
      const sandbox = await driver.create(suiteSpec({ id: "sbx_fixture" }));
      expect(sandbox).to.include({ id: "sbx_fixture", driver: "firecracker" });
      expect(sandbox.receipt).to.include({ driver: "firecracker", isolation: "vm" });
      expect(sandbox.receipt.engine).to.equal("Firecracker 1.99.0 (KVM)");
      const said = await finish(await sandbox.exec({ argv: ["echo", "hi"], env: {} }));
      expect(said).to.include({ text: "hi\n", exitCode: 0 });
      expect(await sandbox.stats()).to.include({ cpuMs: 5, pids: 1 });
      await sandbox.freeze();
      await sandbox.resume();
      await sandbox.delete();
      expect(driver.list()).to.deep.equal([]);
      expect(await left()).to.deep.equal([]);
      const [{ jailer }, ...sent] = await requests();
      expect(jailer).to.include.members(["--id", "sbx-fixture", "--new-pid-ns"]);
      expect(sent).to.deep.equal(JSON.parse(await readFile(fixture, "utf8")));
    });

    it("is available where a guest starts", async () => {
      const { driver, left } = await make("good", {});
      const probe = await driver.probe();
      // The stand-in's guest has the caps of the suite, not those of a probe.
      expect(probe).to.include({ driver: "firecracker", isolation: "vm", available: false });
      expect(probe.reason).to.include("not what was asked for");
      expect(await left()).to.deep.equal([]);
    });

    const faults: Readonly<Record<string, string>> = {
      dies: "SANDBOX_FAILED",
      refuses: "SANDBOX_FAILED",
      breaks: "SANDBOX_FAILED",
      closes: "SANDBOX_FAILED",
      "is silent": "SANDBOX_FAILED",
      ends: "SANDBOX_FAILED",
      "has no resident": "SANDBOX_FAILED",
      "answers noise": "SANDBOX_FAILED",
      "has a silent guest": "SANDBOX_FAILED",
      "has a mad guest": "SANDBOX_FAILED",
      "cannot be set up": "SANDBOX_FAILED",
      "runs as root": "RECEIPT_MISMATCH",
      "has the wrong disk": "RECEIPT_MISMATCH",
    };
    for (const [how, reason] of Object.entries(faults)) {
      it(`answers ${reason} for a Firecracker that ${how}, and leaves nothing`, async () => {
        const { driver, left } = await make(how, { bootLimitMs: 4_000 });
        const error = await settled(driver.create(suiteSpec()));
        expect(error, String(error)).to.include({ reason });
        expect(driver.list()).to.deep.equal([]);
        expect(await left()).to.deep.equal([]);
      });
    }

    it("is cancelled while its guest is silent", async () => {
      const { driver, left } = await make("has a silent guest");
      const stop = new AbortController();
      setTimeout(() => stop.abort(), 500);
      expect(await settled(driver.create(suiteSpec(), stop.signal))).to.include({
        reason: "CANCELLED",
      });
      expect(await left()).to.deep.equal([]);
    });

    it("says what is missing, and what to do about it", async () => {
      const lacks = {
        "no usable KVM": { kvmPath: "/none/kvm" },
        "there is no /none/firecracker": { binary: "/none/firecracker" },
        "there is no /none/jailer": { jailer: "/none/jailer" },
        "there is no guest image": { guestDir: folder },
      };
      for (const [reason, more] of Object.entries(lacks)) {
        const { driver } = await make("good", more);
        const probe = await driver.probe();
        expect(probe.available, reason).to.equal(false);
        expect(probe.reason).to.include(reason);
        expect(probe.remedy).to.not.equal("");
        const error = await settled(driver.create(suiteSpec()));
        expect(error).to.include({ reason: "ISOLATION_UNAVAILABLE" });
      }
    });
  });
});
