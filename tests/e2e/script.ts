/** What the scripted provider answers in these tests. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./program.ts";

/** The question that has an answer, and the answer. */
export const question = "What is a test?";
export const answer = "A test is a promise that is kept.";

/** Writes the script: the example's conversation, one question, and embeddings. Answers its path. */
export function writeScript(folder: string): string {
  const ledger = JSON.parse(
    readFileSync(join(root, "examples", "ledger.conversation.json"), "utf8"),
  ) as { models: object[]; conversations: object[] };
  const pieces = answer.split(/(?<= )/).map((text) => ({ text }));
  const script = {
    models: [...ledger.models, { name: "words", roles: ["embeddings"], dimensions: 64 }],
    conversations: [...ledger.conversations, { when: { contains: question }, turns: [{ pieces }] }],
  };
  const path = join(folder, "script.json");
  writeFileSync(path, JSON.stringify(script));
  return path;
}
