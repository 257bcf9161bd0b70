/** Programs: how they start, speak, end, and are ended. */
import { createHash, randomBytes } from "node:crypto";
import { expect } from "chai";
import {
  archive,
  finish,
  refusal,
  run,
  type SuiteContext,
  sandboxWithPrograms,
  startReady,
} from "./harness.ts";

/** Defines the tests of `exec`, its output and signals. */
export function processTests(context: SuiteContext): void {
  describe("programs", () => {
    it("passes arguments as they are", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const args = ["a b", "", "$HOME", "*", "'\"", "--", "ü"];
      expect((await run(sandbox, "args", args)).text).to.equal(`${args.join("\n")}\n`);
    });

    it("answers exit codes and signals", async () => {
      const sandbox = await sandboxWithPrograms(context);
      for (const code of [0, 1, 7, 126, 127, 255]) {
        const { exitCode, outOfMemory } = await run(sandbox, "exits", [String(code)]);
        expect({ exitCode, outOfMemory }).to.deep.equal({ exitCode: code, outOfMemory: false });
      }
      expect((await run(sandbox, "raises", ["TERM"])).exitCode).to.equal(143);
      expect((await run(sandbox, "raises", ["KILL"])).exitCode).to.equal(137);
    });

    it("carries binary output of both streams unharmed", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const out = Buffer.concat([
        Buffer.from("\0\r\n\r\x1b[0m\xff\xfe\xc3\x28", "latin1"),
        randomBytes(300_000),
      ]);
      const err = Buffer.concat([randomBytes(300_000), Buffer.from("\0no newline\r", "latin1")]);
      await sandbox.put(
        archive([
          { name: "out", data: out },
          { name: "err", data: err },
        ]),
      );
      const { stdout, stderr } = await run(sandbox, "streams", ["/work/out", "/work/err"]);
      expect(sha256(stdout)).to.equal(sha256(out));
      expect(sha256(stderr)).to.equal(sha256(err));
    });

    it("carries a line of 10 MB, and holds the program back meanwhile", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const line = Buffer.concat([Buffer.alloc(10 * 1024 * 1024, "x"), Buffer.from("\n")]);
      await sandbox.put(archive([{ name: "line", data: line }, { name: "none" }]));
      const process = await sandbox.exec({
        argv: ["/work/bin/streams", "/work/line", "/work/none"],
        env: {},
      });
      // Another one runs to its end while nobody reads the first.
      expect((await run(sandbox, "exits", ["4"])).exitCode).to.equal(4);
      const { stdout, exitCode } = await finish(process);
      expect(exitCode).to.equal(0);
      expect(sha256(stdout)).to.equal(sha256(line));
    });

    it("lets a program open its streams by name", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const { text, stderr, exitCode } = await run(sandbox, "reopens");
      expect([text, stderr.toString(), exitCode]).to.deep.equal(["out\n", "err\n", 0]);
    });

    it("resolves the exit without a reader, and keeps what was said", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const process = await sandbox.exec({ argv: ["/work/bin/args", "hi"], env: {} });
      expect((await process.exit).exitCode).to.equal(0);
      expect((await finish(process)).text).to.equal("hi\n");
      expect(() => process.output()).to.throw();
    });

    it("gives a program only its own variables", async () => {
      const sandbox = await sandboxWithPrograms(context);
      process.env.DEVMESH_SUITE_CANARY = "host-secret";
      try {
        const env = { GREETING: "hello world", PATH: "/opt/own:/usr/local/bin:/usr/bin:/bin" };
        const { text } = await run(sandbox, "variables", [], { env });
        const seen = Object.fromEntries(
          text
            .trim()
            .split("\n")
            .map((line) => line.split(/=(.*)/s)),
        );
        expect(seen).to.include(env);
        expect(text).to.not.include("host-secret");
        const known = ["PATH", "HOME", "TMPDIR", "LANG", "PWD", "SHLVL", "_", "OLDPWD", "HOSTNAME"];
        const strange = Object.keys(seen).filter(
          (key) => !(key in env) && !known.includes(key) && !key.startsWith("DEVMESH_"),
        );
        expect(strange).to.deep.equal([]);
      } finally {
        delete process.env.DEVMESH_SUITE_CANARY;
      }
    });

    it("starts in /work or where it is told", async () => {
      const sandbox = await sandboxWithPrograms(context);
      expect((await run(sandbox, "where")).text).to.equal("/work\n");
      expect((await run(sandbox, "where", [], { cwd: "/work/bin" })).text).to.equal("/work/bin\n");
      expect((await run(sandbox, "where", [], { cwd: "/tmp" })).text).to.equal("/tmp\n");
      expect(await refusal(run(sandbox, "where", [], { cwd: "/work/none" }))).to.equal(
        "COMMAND_NOT_FOUND",
      );
    });

    it("answers COMMAND_NOT_FOUND for what is not there or not executable", async () => {
      const sandbox = await sandboxWithPrograms(context);
      await sandbox.put(archive([{ name: "data", mode: 0o644, data: "#!/bin/sh\n" }]));
      for (const command of [
        "/work/none",
        "no-such-program",
        "/work/data",
        "./none",
        "/work/bin",
      ]) {
        const call = sandbox.exec({ argv: [command, "x"], env: {} });
        expect(await refusal(call), command).to.equal("COMMAND_NOT_FOUND");
      }
      expect((await run(sandbox, "exits", ["0"])).exitCode).to.equal(0);
    });

    it("refuses what cannot be passed on, and lets nothing through by it", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const argv = ["/work/bin/where"];
      const specs = {
        "no program": { argv: [], env: {} },
        "an empty name": { argv: [""], env: {} },
        "a NUL in an argument": { argv: [...argv, "a\0b"], env: {} },
        "a NUL in a value": { argv, env: { A: "x\0--bind\0/\0/work" } },
        "a NUL in a name": { argv, env: { "A\0B": "x" } },
        "a name with =": { argv, env: { "A=B": "x" } },
        "a relative folder": { argv, env: {}, cwd: "bin" },
      };
      for (const [what, spec] of Object.entries(specs)) {
        expect(await refusal(sandbox.exec(spec)), what).to.equal("INVALID_FIELD");
      }
    });

    it("does not start under a signal that is aborted", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const call = sandbox.exec({ argv: ["/work/bin/where"], env: {} }, AbortSignal.abort());
      expect(await refusal(call)).to.equal("CANCELLED");
    });

    it("kills the program with children and grandchildren", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const { process, rest } = await startReady(sandbox, "family");
      await process.signal("SIGKILL");
      expect((await process.exit).exitCode).to.equal(137);
      // All of them hold the output: it ends only when none is left.
      await rest;
      await process.signal("SIGKILL");
    });

    it("passes SIGTERM on to children and grandchildren, who may tidy up", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const { process, rest } = await startReady(sandbox, "polite", 3);
      await process.signal("SIGTERM");
      expect((await process.exit).exitCode).to.equal(5);
      const text = await rest;
      for (const who of ["program", "child", "grandchild"]) expect(text).to.include(`${who} ends`);
    });

    it("ends one program and leaves another in the same sandbox alone", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const first = await startReady(sandbox, "family");
      const second = await startReady(sandbox, "polite", 3);
      await first.process.signal("SIGKILL");
      expect((await first.process.exit).exitCode).to.equal(137);
      await first.rest;
      await second.process.signal("SIGTERM");
      expect((await second.process.exit).exitCode).to.equal(5);
      await second.rest;
    });

    it("answers the exit while something left behind still runs", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const process = await sandbox.exec({ argv: ["/work/bin/leaves"], env: {} });
      expect((await process.exit).exitCode).to.equal(3);
      await sandbox.delete();
      expect((await finish(process)).text).to.equal("left\n");
    });

    it("ends all that runs in it, what hides from every signal as well, and goes on", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const hider = await sandbox.exec({ argv: ["/work/bin/hides"], env: {} });
      expect((await hider.exit).exitCode).to.equal(0);
      const { process, rest } = await startReady(sandbox, "stubborn");
      expect((await sandbox.processes?.()) ?? 2).to.be.greaterThan(1);
      await sandbox.endPrograms();
      expect((await sandbox.processes?.()) ?? 0).to.equal(0);
      expect((await process.exit).exitCode).to.equal(137);
      await rest;
      expect((await run(sandbox, "args", ["on"])).text).to.equal("on\n");
      await sandbox.endPrograms();
      await sandbox.delete();
      expect(await refusal(sandbox.endPrograms())).to.equal("SANDBOX_FAILED");
    });

    it("runs many programs one after the other and at once", async () => {
      const sandbox = await sandboxWithPrograms(context);
      for (let i = 0; i < 5; i++)
        expect((await run(sandbox, "args", [`${i}`])).text).to.equal(`${i}\n`);
      const all = await Promise.all([0, 1, 2, 3].map((i) => run(sandbox, "args", [`${i}`])));
      expect(all.map(({ text }) => text)).to.deep.equal(["0\n", "1\n", "2\n", "3\n"]);
    });
  });
}

function sha256(data: Buffer): string {
  return createHash("sha256").update(data).digest("hex");
}
