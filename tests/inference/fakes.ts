/** What the tests of the inference service share: scripted providers, a router around them. */
import { silentLogger } from "@devmesh/mesh/log";
import { TestClock } from "@devmesh/mesh/runtime";
import { Ledger } from "../../services/inference/ledger/ledger.ts";
import { MemoryLedgerStore } from "../../services/inference/ledger/ledger-store.memory.ts";
import type {
  ChatInput,
  ChatPiece,
  Embeddings,
  EmbedInput,
  Provider,
  ProviderModel,
} from "../../services/inference/providers/provider.ts";
import { parseScript } from "../../services/inference/providers/scripted/script.ts";
import { ScriptedProvider } from "../../services/inference/providers/scripted/scripted-provider.ts";
import type { Policy, PolicyOverride } from "../../services/inference/routing/policy.ts";
import { Registry, type RegistryOptions } from "../../services/inference/routing/registry.ts";
import type { RoutedPiece } from "../../services/inference/routing/route.ts";
import { Router, type RouterOptions } from "../../services/inference/routing/router.ts";

/** A scripted provider that counts what it is asked. */
export class CountedProvider implements Provider {
  readonly name: string;
  readonly local: boolean;
  readonly #inner: ScriptedProvider;
  /** What it is asked to answer from; tests may replace it. */
  pieces: readonly unknown[];
  calls = 0;
  lists = 0;
  closed = 0;

  constructor(name: string, local: boolean, pieces: readonly unknown[] = [{ text: name }]) {
    this.name = name;
    this.local = local;
    this.pieces = pieces;
    this.#inner = this.#scripted();
  }

  async listModels(signal?: AbortSignal): Promise<readonly ProviderModel[]> {
    this.lists += 1;
    return await this.#inner.listModels(signal);
  }

  async *chat(input: ChatInput, signal?: AbortSignal): AsyncGenerator<ChatPiece> {
    this.calls += 1;
    yield* this.#scripted().chat(input, signal);
  }

  async embed(input: EmbedInput, signal?: AbortSignal): Promise<Embeddings> {
    this.calls += 1;
    return await this.#scripted().embed(input, signal);
  }

  async countTokens(model: string, texts: readonly string[]): Promise<readonly number[]> {
    return await this.#inner.countTokens(model, texts);
  }

  async close(): Promise<void> {
    this.closed += 1;
  }

  #scripted(): ScriptedProvider {
    const script = parseScript({
      models: [
        { name: "small", roles: ["chat"], contextTokens: 1000 },
        { name: "vectors", dimensions: 8 },
      ],
      turns: [{ pieces: this.pieces }],
    });
    return new ScriptedProvider({ script, name: this.name, local: this.local });
  }
}

/** A fault as a scripted piece. */
export const fault = (reason: string, more: Record<string, unknown> = {}) => ({
  fault: { reason, ...more },
});

/** The server's policy in most tests. */
export const localFirst: Policy = { mode: "local-first", enableCloudFallback: true };

/** A router around providers, with its clock and its ledger's store. */
export function routed(
  providers: readonly Provider[],
  more: Partial<RouterOptions> & { roles?: RegistryOptions["roles"] } = {},
) {
  const clock = new TestClock();
  const store = new MemoryLedgerStore();
  const ledger = new Ledger({ store, clock, logger: silentLogger() });
  const roles = more.roles ?? { chat: [], coding: [], embeddings: [] };
  const registry = new Registry({ providers, roles, clock });
  const limits = { firstTokenTimeoutMs: 1_000, idleTimeoutMs: 500, answerTimeoutMs: 60_000 };
  const router = new Router({ registry, policy: localFirst, ledger, limits, clock, ...more });
  return { clock, store, ledger, registry, router };
}

/** A call as the services make it. */
export function call(model: string, override: PolicyOverride = { mode: "", provider: "" }) {
  const input: ChatInput = {
    model,
    messages: [{ role: "user", content: "hello", toolCalls: [], toolCallId: "" }],
    tools: [],
    maxTokens: 0,
    temperature: undefined,
    topP: undefined,
    stop: [],
    seed: undefined,
  };
  const caller = { principal: "tok_1", jobId: "job_1", requestId: "req_1", logger: silentLogger() };
  return { input, override, caller };
}

/** Waits for all pieces. */
export async function allOf(pieces: AsyncIterable<RoutedPiece>): Promise<RoutedPiece[]> {
  const all: RoutedPiece[] = [];
  for await (const piece of pieces) all.push(piece);
  return all;
}

/** The receipt of an answer. */
export function receiptIn(pieces: readonly RoutedPiece[]) {
  const first = pieces[0];
  if (first?.type !== "route") throw new Error("the route is not the first piece");
  return first.receipt;
}
