/**
 * Owns the conversation with QEMU's monitor: commands, their answers, and the bounds on what
 * QEMU may say. Which commands are sent is left to its users.
 */
import type { Duplex } from "node:stream";
import type { DevmeshError } from "@devmesh/mesh/errors";
import { sandboxFailed } from "../driver-errors.ts";

/** A longer line than any answer that is asked for. */
const maxLineBytes = 1 << 20;
const newline = 10;

/** The monitor of one QEMU. */
export class Qmp {
  readonly #connection: Duplex;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #events = new Map<string, PromiseWithResolvers<void>>();
  #rest: Buffer = Buffer.alloc(0);
  #next = 1;
  #failed: DevmeshError | undefined;

  /** Enters command mode at once; a failure of that is met by the first command. */
  constructor(connection: Duplex) {
    this.#connection = connection;
    connection.on("data", (bytes: Buffer) => this.#receive(bytes));
    connection.on("error", (error) => this.#fail("QEMU's monitor broke", error));
    connection.on("close", () => this.#fail("QEMU's monitor is closed"));
    connection.on("end", () => this.#fail("QEMU's monitor is closed"));
    this.execute("qmp_capabilities").catch(() => {});
  }

  /** The command's answer. Throws SANDBOX_FAILED when QEMU refuses it, or is gone. */
  async execute(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    if (this.#failed) throw this.#failed;
    const id = this.#next++;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, answer);
    this.#connection.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    try {
      return await answer.promise;
    } finally {
      this.#waiting.delete(id);
    }
  }

  /** Resolves when QEMU tells the next event of that name. Rejects when it is gone before. */
  event(name: string): Promise<void> {
    if (this.#failed) return Promise.reject(this.#failed);
    const known = this.#events.get(name) ?? Promise.withResolvers<void>();
    known.promise.catch(() => {});
    this.#events.set(name, known);
    return known.promise;
  }

  #receive(bytes: Buffer): void {
    if (this.#failed) return;
    this.#rest = Buffer.concat([this.#rest, bytes]);
    for (;;) {
      const end = this.#rest.indexOf(newline);
      if (end < 0) break;
      const line = this.#rest.toString("utf8", 0, end);
      this.#rest = this.#rest.subarray(end + 1);
      this.#line(line);
    }
    if (this.#rest.length > maxLineBytes) this.#fail("QEMU's monitor sent a line without an end");
  }

  #line(line: string): void {
    const message = objectOf(line);
    if (!message) {
      this.#fail("QEMU's monitor sent what is no message");
      return;
    }
    const event = typeof message.event === "string" ? message.event : "";
    this.#events.get(event)?.resolve();
    this.#events.delete(event);
    // Greetings and events have no id.
    const waiting = typeof message.id === "number" ? this.#waiting.get(message.id) : undefined;
    if (!waiting) return;
    if ("return" in message) {
      waiting.resolve(message.return);
      return;
    }
    const { error } = message;
    const text = isObject(error) && typeof error.desc === "string" ? error.desc : "no reason given";
    waiting.reject(sandboxFailed("qemu", `QEMU refuses a command: ${text.slice(0, 500)}`));
  }

  #fail(message: string, cause?: unknown): void {
    if (this.#failed) return;
    this.#failed = sandboxFailed("qemu", message, cause);
    for (const { reject } of this.#waiting.values()) reject(this.#failed);
    for (const { reject } of this.#events.values()) reject(this.#failed);
    this.#connection.destroy();
  }
}

/** The word under `key` in an answer; empty if there is none. */
export function wordOf(answer: unknown, key: string): string {
  const value = isObject(answer) ? answer[key] : undefined;
  return typeof value === "string" ? value : "";
}

function objectOf(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : undefined;
  } catch {
    // Not JSON: told by the caller.
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
