/** Tells the demo's story: for people as it goes, for programs in one last line. */

/** What the last line says, besides `ok` and `seconds`. */
export type Results = Record<string, unknown>;

/** Writes the story. With `json` it goes to standard error, and the result to standard output. */
export class Report {
  readonly #json: boolean;
  readonly #seconds: Record<string, number> = {};
  #results: Results = {};
  #problems: string[] = [];

  constructor({ json }: { readonly json: boolean }) {
    this.#json = json;
  }

  /** A heading. */
  title(text: string): void {
    this.#write(`\n${text}\n${"=".repeat(text.length)}\n`);
  }

  /** One line of the story. */
  say(line: string): void {
    this.#write(`  ${line}\n`);
  }

  /** Output as it comes, set off from the story. */
  output(text: string): void {
    this.#write(text.replace(/^(?=.)/gm, "  │ "));
  }

  /** Runs one stage and keeps its time. */
  async stage<T>(name: string, what: string, work: () => Promise<T>): Promise<T> {
    this.#write(`\n▸ ${what}\n`);
    const startedAt = performance.now();
    try {
      return await work();
    } finally {
      this.#seconds[name] = Math.round(performance.now() - startedAt) / 1000;
    }
  }

  /** Notes that something is not as it should be; the demo goes on and fails at its end. */
  problem(text: string): void {
    this.#problems.push(text);
    this.say(`✗ ${text}`);
  }

  /** What the last line shall say. */
  finish(results: Results): void {
    this.#results = results;
  }

  /** The end: exit status 0 if nothing was wrong. */
  end(): void {
    const ok = this.#problems.length === 0;
    const total = Object.values(this.#seconds).reduce((sum, s) => sum + s, 0);
    const took = `${total.toFixed(0)} seconds`;
    this.#write(ok ? `\nEverything worked, in ${took}.\n` : `\n${this.#problems.join("\n")}\n`);
    if (this.#json) {
      const problems = ok ? {} : { problems: this.#problems };
      console.log(JSON.stringify({ ok, ...this.#results, ...problems, seconds: this.#seconds }));
    }
    process.exitCode = ok ? 0 : 1;
  }

  /** A stage that threw. */
  fail(error: unknown): void {
    this.problem(error instanceof Error ? error.message : String(error));
    this.end();
  }

  #write(text: string): void {
    (this.#json ? process.stderr : process.stdout).write(text);
  }
}
