/** The client of the inference bench: one kept connection, one conversation after another. */
import { Client } from "undici";

/** Who is asked. */
export interface Target {
  readonly url: string;
  /** Sent as a bearer token. */
  readonly token?: string;
  /** The model's name there, without the upstream's own part. */
  readonly prefix?: string;
}

/** When the pieces of a streamed answer came. */
export interface Streamed {
  /** From the request to the first text, in milliseconds. */
  readonly firstMs: number;
  /** The longest time without a byte after that, in milliseconds. */
  readonly longestGapMs: number;
}

/** One connection. */
export class ChatClient {
  readonly #client: Client;
  readonly #headers: Record<string, string>;
  readonly #prefix: string;

  constructor({ url, token, prefix = "" }: Target) {
    this.#client = new Client(url, { pipelining: 1 });
    this.#prefix = prefix;
    this.#headers = {
      "content-type": "application/json",
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    };
  }

  /** Asks for a whole answer; its time in milliseconds. Throws if it is not 60 words. */
  async whole(): Promise<number> {
    const startedAt = performance.now();
    const body = await this.#ask("whole", false);
    const text = await body.text();
    const ms = performance.now() - startedAt;
    if (!text.includes("word59.")) throw new Error(`not the answer: ${text.slice(0, 500)}`);
    return ms;
  }

  /** Asks for a stream that is written word by word. */
  async streamed(): Promise<Streamed> {
    const startedAt = performance.now();
    let firstMs = Number.NaN;
    let longestGapMs = 0;
    let lastAt = 0;
    let text = "";
    for await (const piece of await this.#ask("paced", true)) {
      const now = performance.now();
      text += String(piece);
      if (Number.isNaN(firstMs)) {
        // Gateways may begin with a chunk that names the role and has no text.
        if (text.includes("word0")) firstMs = now - startedAt;
      } else longestGapMs = Math.max(longestGapMs, now - lastAt);
      lastAt = now;
    }
    if (!text.includes("[DONE]")) throw new Error(`not the answer: ${text.slice(-500)}`);
    return { firstMs, longestGapMs };
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  async #ask(model: "whole" | "paced", stream: boolean) {
    const { statusCode, body } = await this.#client.request({
      method: "POST",
      path: "/v1/chat/completions",
      headers: this.#headers,
      body: JSON.stringify({
        model: `${this.#prefix}${model}`,
        messages: [{ role: "user", content: "Answer with sixty words, one after another." }],
        stream,
      }),
    });
    if (statusCode !== 200) throw new Error(`${statusCode}: ${await body.text()}`);
    return body;
  }
}
