/** A signal that is made when somebody asks for it: most calls end before anybody does. */

/** Like an AbortController, without its cost until `signal` is read. */
export class LazyAbort {
  #controller: AbortController | undefined;
  #aborted: { readonly reason: unknown } | undefined;

  /** The same signal each time. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  /** True once somebody has read the signal: from then on it may be listened to, or replaced. */
  get isRead(): boolean {
    return this.#controller !== undefined;
  }

  get isAborted(): boolean {
    return this.#aborted !== undefined;
  }

  /** What it was aborted with first. */
  get reason(): unknown {
    return this.#aborted?.reason;
  }

  abort(reason: unknown): void {
    this.#aborted ??= { reason };
    this.#controller?.abort(reason);
  }
}
