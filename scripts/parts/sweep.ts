/** What must not outlive this process. */

/**
 * Calls `sweep` when this process exits, unless the returned function is called first.
 * `sweep` runs in the exit event: only synchronous work has an effect there.
 */
export function onExit(sweep: () => void): () => void {
  process.once("exit", sweep);
  return () => process.off("exit", sweep);
}
