/**
 * How the stores of this service ask Postgres: prepared statements by name,
 * text that Postgres can hold, and a lost server as UNAVAILABLE.
 */
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Pool, PoolClient } from "pg";

/** Whom to ask: any connection, or the one of a transaction. */
export type Queryable = Pool | PoolClient;

/** Statements of one store, and the prefix of their names as prepared statements. */
export class PostgresQueries<Name extends string> {
  readonly #prefix: string;
  readonly #statements: Readonly<Record<Name, string>>;
  readonly #answerWithinMs: number;

  /**
   * `answerWithinMs`: how long a statement may take. A server that is gone
   * without a word would hold the connection, and its caller, for a quarter of
   * an hour. Default: 30,000 ms.
   */
  constructor(prefix: string, statements: Readonly<Record<Name, string>>, answerWithinMs = 30_000) {
    this.#prefix = prefix;
    this.#statements = statements;
    this.#answerWithinMs = answerWithinMs;
  }

  /** The rows of a statement. Throws UNAVAILABLE if the server is lost, too busy or too slow. */
  async rows<Row>(target: Queryable, name: Name, values: readonly unknown[] = []): Promise<Row[]> {
    const text = this.#statements[name];
    const query = {
      name: `${this.#prefix}.${name}`,
      text,
      values: values.map(storable),
      query_timeout: this.#answerWithinMs,
    };
    try {
      return (await target.query(query)).rows as Row[];
    } catch (cause) {
      if (!isLost(cause)) throw cause;
      throw new DevmeshError("UNAVAILABLE", "the database does not answer", { cause });
    }
  }

  /** The first row of a statement. */
  async row<Row>(
    target: Queryable,
    name: Name,
    values: readonly unknown[] = [],
  ): Promise<Row | undefined> {
    return (await this.rows<Row>(target, name, values))[0];
  }
}

/** Postgres text cannot hold NUL: it becomes the sign for it. */
function storable(value: unknown): unknown {
  if (typeof value === "string") return value.replaceAll("\0", "\u2400");
  return Array.isArray(value) ? value.map(storable) : value;
}

/**
 * True for errors of the connection, and for the classes of SQLSTATE that
 * pass: 08 connection, 40 rolled back, 53 resources, 57P shut down.
 */
export function isLost(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof DevmeshError) return error.reason === "UNAVAILABLE";
  const code = "code" in error ? String(error.code) : "";
  return /^(08|40|53|57P|E[A-Z])/.test(code) || /terminat|timeout/i.test(code ? "" : error.message);
}
