/** Who hears of changes of jobs within this process. */

/** Listeners and a way to call them. */
export class JobChanges {
  readonly #listeners = new Set<(jobId: string) => void>();

  /** Adds a listener; answers how to remove it. The same function may be added twice. */
  add(listener: (jobId: string) => void): () => void {
    const entry = (jobId: string) => listener(jobId);
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  /** Tells all listeners of each job. Called after the commit, never within a transaction. */
  tell(jobIds: Iterable<string>): void {
    if (this.#listeners.size === 0) return;
    for (const jobId of new Set(jobIds)) {
      for (const listener of this.#listeners) listener(jobId);
    }
  }

  /** Removes all listeners. */
  clear(): void {
    this.#listeners.clear();
  }
}
