/** What came of a request. */

/** An answer, or why there is none. */
export type Answer =
  | {
      readonly kind: "answer";
      readonly status: number;
      /** Names in lower case. HTTP/2's trailers stand among them. */
      readonly headers: ReadonlyMap<string, string>;
      readonly body: Buffer;
      /** True: the answer was a stream, and enough of it was read. */
      readonly cut: boolean;
    }
  /** The server closed the connection. */
  | { readonly kind: "closed"; readonly detail: string }
  /** There was no answer in time. */
  | { readonly kind: "late" };

/** How long a request may go unanswered, in milliseconds. */
export const lateAfterMs = 30_000;

/** How much of a stream is enough, in bytes. */
export const enoughBytes = 64 * 1024;
