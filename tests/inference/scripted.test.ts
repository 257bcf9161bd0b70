import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import {
  allPieces,
  conversation,
  errorOf,
} from "../../services/inference/providers/provider.suite.ts";
import type { ChatInput } from "../../services/inference/providers/provider.ts";
import { parseScript } from "../../services/inference/providers/scripted/script.ts";
import { ScriptedProvider } from "../../services/inference/providers/scripted/scripted-provider.ts";

const provider = (script: unknown) => new ScriptedProvider({ script: parseScript(script) });
const ask = (content: string, more: Partial<ChatInput> = {}) =>
  conversation("scripted", content, more);

describe("scripted provider", () => {
  it("takes the turn by the number of answers so far, and again when asked again", async () => {
    const scripted = provider({
      turns: [{ pieces: [{ text: "one" }] }, { pieces: [{ text: "two" }] }],
    });
    const answered = { role: "assistant", content: "one", toolCalls: [], toolCallId: "" } as const;
    const second = { ...ask("x"), messages: [...ask("x").messages, answered] };
    for (const input of [second, second]) {
      expect((await allPieces(scripted.chat(input)))[0]).to.have.property("text", "two");
    }
    expect((await allPieces(scripted.chat(ask("x"))))[0]).to.have.property("text", "one");
  });

  it("fails clearly when a turn is not the recorded one", async () => {
    const scripted = provider({ turns: [{ when: { lastMessage: "apples" }, pieces: [] }] });
    const error = await errorOf(() => allPieces(scripted.chat(ask("pears"))));
    expect(error.reason).to.equal("PROVIDER_PROTOCOL");
    expect(error.message).to.include('"apples"').and.to.include("pears");
  });

  it("fails clearly when the script is over", async () => {
    const scripted = provider({ turns: [] });
    const error = await errorOf(() => allPieces(scripted.chat(ask("x"))));
    expect(error.message).to.include("0 turns");
  });

  it("chooses the conversation by its words and its tools", async () => {
    const scripted = provider({
      conversations: [
        { when: { tools: true }, turns: [{ pieces: [{ text: "tools" }] }] },
        { when: { contains: "title" }, turns: [{ pieces: [{ text: "title" }] }] },
      ],
    });
    expect((await allPieces(scripted.chat(ask("a title"))))[0]).to.have.property("text", "title");
    const error = await errorOf(() => allPieces(scripted.chat(ask("x"))));
    expect(error.message).to.include("no conversation that fits");
  });

  it("ends at a stop text and at the most words", async () => {
    const scripted = provider({ turns: [{ pieces: [{ text: "a b STOP c" }] }] });
    const [text, end] = await allPieces(scripted.chat(ask("x", { stop: ["STOP"] })));
    expect(text).to.have.property("text", "a b ");
    expect(end).to.have.property("finishReason", "stop");
    const cut = await allPieces(scripted.chat(ask("x", { maxTokens: 1 })));
    expect(cut[0]).to.have.property("text", "a ");
    expect(cut[1]).to.have.property("finishReason", "length");
  });

  it("says where a script is wrong", () => {
    const wrong = { turns: [{ pieces: [{ fault: { reason: "NO_SUCH_REASON" } }] }] };
    expect(() => parseScript(wrong)).to.throw(DevmeshError, "turns[0].pieces[0].fault.reason");
    expect(() => parseScript({ turn: [] })).to.throw(DevmeshError, "script.turn");
  });
});
