/** Makes a vector store hold what the context store says it should. */
import type { ContextStore } from "../documents/context-store.ts";
import type { VectorSpace } from "../vectors/index-version.ts";
import type { VectorStore } from "../vectors/vector-store.ts";

const idsPerPage = 5_000;
const vectorsPerPage = 256;

/**
 * Adds the space's vectors that are missing and removes those whose chunk is
 * gone. A chunk's id stands for its text, so equal ids have equal vectors.
 */
export async function refill(
  store: ContextStore,
  vectors: VectorStore,
  space: VectorSpace,
  signal: AbortSignal,
): Promise<void> {
  const stale = new Set(await vectors.ids(space));
  let missing: string[] = [];
  const add = async () => {
    for (let i = 0; i < missing.length; i += vectorsPerPage) {
      signal.throwIfAborted();
      const page = missing.slice(i, i + vectorsPerPage);
      await vectors.upsert(space, await store.vectors(space.id, page));
    }
    missing = [];
  };
  let after = "";
  for (;;) {
    signal.throwIfAborted();
    const ids = await store.vectorIds(space.id, after, idsPerPage);
    missing.push(...ids.filter((id) => !stale.delete(id)));
    await add();
    const last = ids.at(-1);
    if (last === undefined || ids.length < idsPerPage) break;
    after = last;
  }
  if (stale.size > 0) await vectors.remove(space, [...stale]);
}
