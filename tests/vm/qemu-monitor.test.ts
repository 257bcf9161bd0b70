/** QEMU's monitor: answers, refusals, and what no QEMU says. */
import { duplexPair } from "node:stream";
import { expect } from "chai";
import { Qmp, wordOf } from "../../services/vm/drivers/qemu/qmp.ts";

/** A monitor whose other end is the test's. */
function monitor() {
  const [ours, theirs] = duplexPair();
  theirs.setEncoding("utf8");
  return { qmp: new Qmp(ours), theirs, say: (text: string) => theirs.write(text) };
}

const settled = (call: Promise<unknown>) =>
  call.then(
    (value) => value,
    (error) => error,
  );

describe("QEMU's monitor", () => {
  it("gives each command its own answer, in any order, beside greetings and events", async () => {
    const { qmp, say } = monitor();
    const answers = [qmp.execute("query-status"), qmp.execute("query-migrate", { a: 1 })];
    say('{"QMP": {"version": {}}}\r\n{"return": {}, "id": 1}\n{"event": "STOP"}\n{"return": {"sta');
    say('tus": "completed"}, "id": 3}\n{"return": 5, "id": 2}\n{"return": 6, "id": 99}\n');
    expect(await answers[0]).to.equal(5);
    expect(wordOf(await answers[1], "status")).to.equal("completed");
  });

  it("tells events once each, and none when QEMU is gone", async () => {
    const { qmp, say, theirs } = monitor();
    const event = qmp.event("RESUME");
    say('{"event": "RESUME"}\n');
    await event;
    const next = settled(qmp.event("RESUME"));
    theirs.end();
    expect(await next).to.include({ reason: "SANDBOX_FAILED" });
    expect(await settled(qmp.event("RESUME"))).to.include({ reason: "SANDBOX_FAILED" });
  });

  it("names QEMU's reason when it refuses", async () => {
    const { qmp, say } = monitor();
    const call = settled(qmp.execute("cont"));
    say('{"error": {"class": "GenericError", "desc": "not now"}, "id": 2}\n');
    const error = await call;
    expect(error).to.include({ reason: "SANDBOX_FAILED" });
    expect(String(error)).to.include("not now");
  });

  const nonsense = {
    "no JSON": "hello\n",
    "no object": "[1,2]\n",
    "a cut object": '{"return": \n',
    "a line without an end": "x".repeat((1 << 20) + 1),
  };
  for (const [what, text] of Object.entries(nonsense)) {
    it(`gives up at ${what}`, async () => {
      const { qmp, say } = monitor();
      const call = settled(qmp.execute("stop"));
      say(text);
      expect(await call).to.include({ reason: "SANDBOX_FAILED" });
      expect(await settled(qmp.execute("cont"))).to.include({ reason: "SANDBOX_FAILED" });
    });
  }

  it("fails what waits when QEMU ends", async () => {
    const { qmp, theirs } = monitor();
    const call = settled(qmp.execute("stop"));
    theirs.destroy();
    expect(await call).to.include({ reason: "SANDBOX_FAILED" });
  });
});
