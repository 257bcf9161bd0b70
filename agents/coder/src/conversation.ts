/** Owns the messages so far, and keeping them within a size: old tool results are shortened. */
import type { Message, ModelTurn } from "./model/chat-model.ts";
import { cutBytes } from "./text.ts";
import { readArguments } from "./tools/repair-json.ts";

/** What the conversation begins with. */
export interface ConversationOptions {
  readonly system: string;
  readonly user: string;
  /** Size beyond which old tool results are shortened, in bytes of JSON. */
  readonly maxBytes: number;
}

/** Of a shortened result so much stays. */
const keptBytes = 200;
/** The results of the last turns stay whole: the model is at work on them. */
const wholeTurns = 2;
/** Shortening goes well below the limit, so that a cached prefix is lost seldom. */
const lowShare = 0.6;

/** Longer arguments go back as their beginning: no server takes a request of any size. */
const maxArgumentsBytes = 256 * 1024;

/** One conversation with the model. */
export class Conversation {
  readonly #messages: Message[];
  readonly #maxBytes: number;
  #bytes = 0;

  constructor({ system, user, maxBytes }: ConversationOptions) {
    this.#messages = [];
    this.#maxBytes = maxBytes;
    this.#add({ role: "system", content: system });
    this.#add({ role: "user", content: user });
  }

  /** The messages, oldest first. */
  get messages(): readonly Message[] {
    return this.#messages;
  }

  /** The size of the messages, in bytes of JSON. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The model's answer. */
  addTurn({ text, calls }: Pick<ModelTurn, "text" | "calls">): void {
    if (calls.length === 0) {
      // Some servers refuse an answer without text and calls.
      this.#add({ role: "assistant", content: text || "(nothing)" });
      return;
    }
    this.#add({
      role: "assistant",
      content: text === "" ? null : text,
      tool_calls: calls.map(({ id, name, arguments: json }) => ({
        id,
        type: "function",
        // Servers that read the arguments want JSON, whatever the model wrote.
        function: { name, arguments: boundedJson(json) },
      })),
    });
  }

  /** The result of one call. */
  addResult(callId: string, text: string): void {
    this.#add({ role: "tool", tool_call_id: callId, content: text });
  }

  /** A word of the agent to the model. */
  addUser(text: string): void {
    this.#add({ role: "user", content: text });
  }

  /** Shortens old results if the size is above the limit; answers how many it shortened. */
  shorten(): number {
    return this.#bytes > this.#maxBytes ? this.#shortenTo(this.#maxBytes * lowShare) : 0;
  }

  /** Shortens old results to half the present size; for models with a small window. */
  shortenByHalf(): number {
    return this.#shortenTo(this.#bytes / 2);
  }

  #shortenTo(bytes: number): number {
    const end = this.#startOfLastTurns();
    let count = 0;
    for (let index = 0; index < end && this.#bytes > bytes; index++) {
      const message = this.#messages[index];
      if (message?.role !== "tool" || typeof message.content !== "string") continue;
      const short = shortened(message.content);
      if (short.length >= message.content.length) continue;
      const changed = { ...message, content: short };
      this.#bytes += sizeOf(changed) - sizeOf(message);
      this.#messages[index] = changed;
      count += 1;
    }
    return count;
  }

  #startOfLastTurns(): number {
    let turns = 0;
    for (let index = this.#messages.length - 1; index >= 0; index--) {
      if (this.#messages[index]?.role === "assistant" && ++turns === wholeTurns) return index;
    }
    return 0;
  }

  #add(message: Message): void {
    this.#messages.push(message);
    this.#bytes += sizeOf(message);
  }
}

function boundedJson(text: string): string {
  const bytes = Buffer.byteLength(text);
  if (bytes <= maxArgumentsBytes) return validJson(text);
  return JSON.stringify({ shortened: `${cutBytes(text, keptBytes)} … (${bytes} bytes)` });
}

function validJson(text: string): string {
  try {
    const { value, repaired } = readArguments(text);
    return repaired ? JSON.stringify(value) : text;
  } catch {
    // What nobody can read goes back as a text: its author hears so in the result.
    return JSON.stringify({ arguments: text.slice(0, 2000) });
  }
}

function shortened(text: string): string {
  const bytes = Buffer.byteLength(text);
  return `${cutBytes(text, keptBytes)}\n[an old result, shortened from ${bytes} bytes; call the tool again to see it]`;
}

function sizeOf(message: Message): number {
  return Buffer.byteLength(JSON.stringify(message));
}
