/** The thread that parses code; see `chunker.ts` for the thread that asks. */
import { createRequire } from "node:module";
import { parentPort } from "node:worker_threads";
import { Language, Parser } from "web-tree-sitter";
import type { Piece } from "./chunk.ts";
import { cut } from "./cut.ts";
import { syntaxSections } from "./syntax.ts";

/** What the thread is asked. */
export interface ChunkQuestion {
  readonly id: number;
  readonly grammar: string;
  readonly text: string;
}

/** What it answers: pieces, or why there are none. */
export type ChunkAnswer =
  | { readonly id: number; readonly pieces: Piece[] }
  | { readonly id: number; readonly failure: string };

const parseLimitMs = 3_000;
const { resolve } = createRequire(import.meta.url);
const parsers = new Map<string, Promise<Parser>>();

async function parserOf(grammar: string): Promise<Parser> {
  await Parser.init();
  const path = resolve(`@vscode/tree-sitter-wasm/wasm/tree-sitter-${grammar}.wasm`);
  const parser = new Parser();
  parser.setLanguage(await Language.load(path));
  return parser;
}

async function answer({ id, grammar, text }: ChunkQuestion): Promise<ChunkAnswer> {
  try {
    const loading = parsers.get(grammar) ?? parserOf(grammar);
    parsers.set(grammar, loading);
    const parser = await loading;
    const limit = performance.now() + parseLimitMs;
    const tree = parser.parse(text, null, { progressCallback: () => performance.now() > limit });
    if (tree === null) {
      parser.reset();
      return { id, failure: `parsing took longer than ${parseLimitMs} ms` };
    }
    try {
      return { id, pieces: cut(text, syntaxSections(tree.rootNode)) };
    } finally {
      // The tree lives in WebAssembly's memory, which is not collected.
      tree.delete();
    }
  } catch (error: unknown) {
    return { id, failure: error instanceof Error ? error.message : String(error) };
  }
}

parentPort?.on("message", (question: ChunkQuestion) => {
  answer(question).then((result) => parentPort?.postMessage(result));
});
