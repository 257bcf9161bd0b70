/** Owns the error for wrong arguments and input. */

/** What the caller wrote cannot be done; exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  /** What to do instead. Empty where the message says it. */
  readonly remedy: string;

  /** `message` names what is wrong. */
  constructor(message: string, remedy = "") {
    super(message);
    this.remedy = remedy;
  }
}
