/** Programs: how they end, what they leave, what they must not know. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { leftOut } from "../../agents/coder/src/text.ts";
import { BoundedOutput } from "../../agents/coder/src/tools/bounded-output.ts";
import { isAlive, untilFile, untilGone } from "./processes.ts";
import { TempFolders } from "./temp-folder.ts";
import { type CallTool, toolsOf } from "./toolbox-for.ts";

describe("run", function () {
  this.timeout(60_000);
  const folders = new TempFolders();
  let root: string;
  let call: CallTool;

  beforeEach(async () => {
    root = await folders.make();
    call = await toolsOf(root);
  });
  afterEach(() => folders.clear());

  it("tells the status and both outputs, in the work dir, without a shell", async () => {
    const script = "echo out $0; echo err >&2; pwd; exit 3";
    const result = await call("run", { argv: ["sh", "-c", script, "$HOME; id"] });
    expect(result.outcome).to.equal("ok");
    expect(result.text.split("\n")[0]).to.equal("exit status 3");
    expect(result.text).to.include("out $HOME; id").and.to.include("err").and.to.include(root);
    expect((await call("run", { argv: ["true"] })).text).to.equal("exit status 0\n(no output)");
    expect((await call("run", { argv: ["sh", "-c", "kill -9 $$"] })).text).to.include(
      "ended by SIGKILL",
    );
  });

  it("keeps the head and the tail of long output and takes escape sequences away", async () => {
    const program =
      "console.log('\\x1b[31mfirst\\x1b[0m'); console.log('x'.repeat(1e6)); console.log('last')";
    const { text } = await call("run", { argv: ["node", "-e", program] });
    expect(text).to.match(/^exit status 0\nfirst\nx+\n\[… \d+ bytes left out …\]\nx+\nlast$/);
    expect(text).to.have.length.below(17_000);
  });

  it("says which program is not there", async () => {
    expect(await call("run", { argv: ["no-such-program"] })).to.deep.equal({
      outcome: "failed",
      text: "error: no-such-program: there is no such program",
    });
    expect((await call("run", { argv: ["a\0b"] })).outcome).to.equal("failed");
    await writeFile(join(root, "plain"), "");
    expect((await call("run", { argv: ["./plain"] })).outcome).to.equal("failed");
  });

  it("does not give the agent's token and addresses to programs", async () => {
    const env = {
      PATH: process.env.PATH,
      DEVMESH_TOKEN: "secret-token",
      BACKEND_URL: "unix:/x",
      OTHER: "kept",
    };
    const withEnv = await toolsOf(root, env);
    const { text } = await withEnv("run", { argv: ["env"] });
    expect(text)
      .to.include("OTHER=kept")
      .and.not.to.match(/DEVMESH|BACKEND|secret/);
  });

  it("kills all that a program started when its time is up", async () => {
    const script = "sleep 1000 & echo $! > pid; trap '' TERM; wait";
    const argv = ["sh", "-c", script];
    const { text } = await call("run", { argv, timeoutSeconds: 1 });
    expect(text).to.include("killed after 1 s, the time limit");
    await untilGone(Number(await readFile(join(root, "pid"), "utf8")));
  });

  it("kills what a program left in the background, and does not wait for it", async () => {
    const { text } = await call("run", { argv: ["sh", "-c", "sleep 1000 & echo $!"] });
    const pid = Number(text.split("\n")[1]);
    expect(pid).to.be.greaterThan(1);
    await untilGone(pid);
  });

  it("is not held up by a process that left the group with the output open", async () => {
    const script = "setsid sleep 1000 & echo $!";
    const { text } = await call("run", { argv: ["sh", "-c", script] });
    const pid = Number(text.split("\n")[1]);
    // What leaves the group is the sandbox's to end; here the test does it.
    if (isAlive(pid)) process.kill(pid, "SIGKILL");
    expect(text).to.match(/^exit status 0/);
  });

  it("ends with the agent", async () => {
    const stop = new AbortController();
    const argv = ["sh", "-c", "sleep 1000 & echo $! > pid; wait"];
    const running = call("run", { argv }, stop.signal).catch((error: unknown) => error);
    const pid = Number(await untilFile(join(root, "pid")));
    stop.abort(new Error("stopped by SIGTERM"));
    expect(await running)
      .to.be.instanceOf(Error)
      .with.property("message", "stopped by SIGTERM");
    await untilGone(pid);
  });
});

describe("bounded output", () => {
  it("property: keeps exactly the head and the tail, however it is cut", () => {
    const pieces = fc.array(
      fc.string({ unit: fc.constantFrom("a", "b", "c", "\n"), maxLength: 40 }),
    );
    fc.assert(
      fc.property(pieces, fc.integer({ min: 2, max: 60 }), (texts, maxBytes) => {
        const output = new BoundedOutput(maxBytes);
        for (const text of texts) output.add(Buffer.from(text));
        const whole = texts.join("");
        const half = Math.floor(maxBytes / 2);
        const left = whole.length - 2 * half;
        const wanted =
          left <= 0 ? whole : whole.slice(0, half) + leftOut(left) + whole.slice(-half);
        expect(output.text()).to.equal(wanted);
        expect(output.totalBytes).to.equal(whole.length);
      }),
      { numRuns: 500 },
    );
  });

  it("holds little of a flood", () => {
    const output = new BoundedOutput(1000);
    const piece = Buffer.alloc(64 * 1024, "x");
    for (let i = 0; i < 2000; i++) output.add(piece);
    expect(output.text()).to.have.length.below(1100);
    expect(output.totalBytes).to.equal(2000 * piece.length);
  });
});
