/** The conversation's size: old results are shortened, and nothing else is touched. */
import { expect } from "chai";
import fc from "fast-check";
import { Conversation } from "../../agents/coder/src/conversation.ts";
import type { Message } from "../../agents/coder/src/model/chat-model.ts";

/** A conversation with one result of each of these sizes. */
function conversationOf(sizes: readonly number[], maxBytes: number): Conversation {
  const conversation = new Conversation({ system: "system", user: "task", maxBytes });
  for (const [index, size] of sizes.entries()) {
    const id = `call_${index}`;
    conversation.addTurn({ text: `turn ${index}`, calls: [{ id, name: "run", arguments: "{}" }] });
    conversation.addResult(id, `${index}:${"é".repeat(size)}`);
  }
  return conversation;
}

const sizeOf = (messages: readonly Message[]) =>
  messages.reduce((sum, message) => sum + Buffer.byteLength(JSON.stringify(message)), 0);

describe("conversation", () => {
  it("leaves everything as it is within the limit", () => {
    const conversation = conversationOf([100, 100, 100], 10_000);
    const before = structuredClone(conversation.messages);
    expect(conversation.shorten()).to.equal(0);
    expect(conversation.messages).to.deep.equal(before);
  });

  it("shortens the oldest results first, and says so in them", () => {
    const conversation = conversationOf([2000, 2000, 2000, 2000], 16_000);
    expect(conversation.shorten()).to.equal(2);
    const results = conversation.messages.filter(({ role }) => role === "tool");
    expect(results[0]?.content).to.match(/^0:é+\n\[an old result, shortened from 4002 bytes/);
    expect(results[2]?.content).to.have.length(2002);
    // Well below the limit now, so that the next turns change nothing.
    expect(conversation.bytes).to.be.below(16_000 * 0.6);
    expect(conversation.shorten()).to.equal(0);
  });

  it("sends the beginning of arguments back that are too long for a request", () => {
    const conversation = conversationOf([], 1_000_000);
    const json = JSON.stringify({ path: "a", content: "é".repeat(5 * 1024 * 1024) });
    conversation.addTurn({ text: "", calls: [{ id: "c", name: "write_file", arguments: json }] });
    const last = conversation.messages.at(-1);
    const call = last?.role === "assistant" ? last.tool_calls?.[0] : undefined;
    const sent = call?.type === "function" ? call.function.arguments : "";
    expect(Buffer.byteLength(sent)).to.be.below(1_000);
    expect(JSON.parse(sent).shortened).to.match(/^\{"path":"a",.*\(\d+ bytes\)$/);
  });

  it("property: the last two turns, all words and all ids stay, and the size is counted right", () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 12 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 20_000 }), (all, maxBytes) => {
        const conversation = conversationOf(all, maxBytes);
        const before = structuredClone(conversation.messages);
        conversation.shorten();
        const after = conversation.messages;
        expect(after).to.have.length(before.length);
        expect(conversation.bytes).to.equal(sizeOf(after));
        expect(conversation.bytes).to.be.at.most(sizeOf(before));
        for (const [index, message] of after.entries()) {
          const was = before[index];
          const isOldResult = message.role === "tool" && index < before.length - 4;
          if (isOldResult)
            expect({ ...message, content: "" }).to.deep.equal({ ...was, content: "" });
          else expect(message).to.deep.equal(was);
        }
      }),
    );
  });
});
