/** Going on from a log: what is taken from it, and what is done again. */
import { expect } from "chai";
import { Records } from "../../agents/coder/src/records.ts";
import { Replay } from "../../agents/coder/src/replay.ts";
import { type LoggedCall, type LoggedTurn, parseResume } from "../../agents/coder/src/resume.ts";
import { Transcript } from "../../agents/coder/src/transcript.ts";
import { AgentTranscript } from "../../services/vm/runner/agent/transcript.ts";
import { turnOf } from "./fake-model.ts";

const turn = (step: number, ...ids: string[]): LoggedTurn => ({
  ...{ type: "turn", step, text: "", cut: false, inputTokens: 1, outputTokens: 1 },
  calls: ids.map((id) => ({ id, name: "run", arguments: "{}" })),
  ...{ exactUsage: true, costMicros: undefined, model: "m", protocol: "native" },
});
const call = (step: number, id: string, changed: boolean, text = "out"): LoggedCall => ({
  ...{ type: "call", step, id, outcome: "ok", text, changed, command: undefined },
});

describe("a replay", () => {
  const entries = [
    ...[turn(1, "a", "b"), call(1, "a", false), call(1, "b", true)],
    ...[turn(2, "c", "d"), call(2, "c", true), call(2, "d", false)],
    turn(3, "e"),
  ];
  const held = (files: Parameters<typeof parseResume>[0]) => {
    const replay = new Replay(parseResume({ entries, files }));
    const ids = ["1 a", "1 b", "2 c", "2 d", "3 e"].filter((key) => {
      const [step, id = ""] = key.split(" ");
      return replay.resultOf(Number(step), id) !== undefined;
    });
    return ids.join(",");
  };

  it("takes results up to the first change that is not in the kept files", () => {
    expect(held(null)).to.equal("1 a");
    expect(held({ step: 1, call: "b" })).to.equal("1 a,1 b");
    expect(held({ step: 2, call: "c" })).to.equal("1 a,1 b,2 c,2 d");
    expect(held("all")).to.equal("1 a,1 b,2 c,2 d");
  });

  it("takes the later result of a call that was done again", () => {
    const again = [...entries, call(1, "b", true, "again")];
    const replay = new Replay(parseResume({ entries: again, files: "all" }));
    expect(replay.resultOf(1, "b")?.text).to.equal("again");
  });

  it("plays turns and words in their order", () => {
    const words = [turn(1), { type: "user", text: "on" }, turn(2)];
    const replay = new Replay(parseResume({ entries: words, files: "all" }));
    const order = [];
    while (replay.hasMore) order.push(replay.next()?.type);
    expect(order).to.deep.equal(["turn", "user", "turn"]);
    expect(new Replay(undefined).hasMore).to.equal(false);
  });

  it("names what is wrong with a log", () => {
    expect(() => parseResume({})).to.throw("entries: must be a list");
    expect(() => parseResume({ entries: [{ type: "x" }] })).to.throw("entries[0].type");
    const bad = { ...turn(1), calls: [{ id: 1 }] };
    expect(() => parseResume({ entries: [bad] })).to.throw(
      "entries[0].calls[0].id: must be a text",
    );
  });
});

describe("a transcript", () => {
  /** What the runner makes of what the agent writes. */
  function passed(write: (transcript: Transcript) => void): AgentTranscript {
    const taken = new AgentTranscript();
    const err = (text: string) => {
      const { topic, payload } = JSON.parse(text.slice(1)) as { topic: string; payload: object };
      const json = JSON.stringify(payload);
      expect(Buffer.byteLength(json)).to.be.below(64 * 1024);
      taken.take(topic, JSON.parse(json));
    };
    write(new Transcript(new Records({ out: () => {}, err, secrets: ["tok_secret"] })));
    return taken;
  }

  it("passes turns of any size whole, and results with a hash where they are cut", () => {
    const content = '"😀\n\\'.repeat(60_000);
    const args = JSON.stringify({ path: "a", content });
    const large = turnOf({ text: "x", calls: [{ id: "1", name: "write_file", arguments: args }] });
    const taken = passed((transcript) => {
      transcript.turn(large, { step: 1, ms: 1, protocol: "native" });
      const facts = { step: 1, id: "1", name: "write_file", ms: 1, changed: true };
      transcript.call(facts, { outcome: "ok", text: "\u0001".repeat(50_000) });
    });
    const { entries } = parseResume({ entries: taken.entries, files: "all" });
    expect(entries[0]).to.deep.include({ type: "turn", calls: large.calls });
    expect(entries[1])
      .to.have.property("text")
      .that.matches(/cut: 50000 bytes in all, SHA-256/);
  });

  it("leaves a turn out that is more than is kept, and what follows, until it is asked for again", () => {
    const huge = turnOf({ text: "y".repeat(5 * 1024 * 1024) });
    const facts = { ms: 1, protocol: "native" as const };
    const taken = passed((transcript) => {
      transcript.turn(turnOf({ text: "one" }), { step: 1, ...facts });
      transcript.turn(huge, { step: 2, ...facts });
      transcript.turn(turnOf({ text: "three" }), { step: 3, ...facts });
    });
    expect(taken.entries.map(({ text }) => text)).to.deep.equal(["one"]);
    taken.take("agent.turn", { step: 2, text: "two", calls: [] });
    expect(taken.entries.map(({ text }) => text)).to.deep.equal(["one", "two"]);
  });

  it("has no secret, wherever a piece is cut", () => {
    const text = `${"z".repeat(6820)}tok_secret`.repeat(20);
    const taken = passed((transcript) => {
      transcript.turn(turnOf({ text }), { step: 1, ms: 1, protocol: "native" });
    });
    expect(JSON.stringify(taken.entries))
      .not.to.include("tok_secret")
      .and.not.to.include('tok_sec"');
    expect(taken.entries).to.have.length(1);
  });
});
