/** What models cost, as the operator says: no price is guessed. */
import type { Usage } from "../providers/provider.ts";

/** The price of a million tokens, in millionths of a US dollar. */
export interface ModelPrice {
  readonly inputMicros: number;
  readonly outputMicros: number;
}

/** Local models cost nothing where nobody says otherwise. */
const free: ModelPrice = { inputMicros: 0, outputMicros: 0 };

/** Prices by `provider/model`; a `*` at the end stands for any rest. */
export class Prices {
  readonly #rows: readonly (readonly [name: string, price: ModelPrice])[];

  constructor(rows: Readonly<Record<string, ModelPrice>> = {}) {
    this.#rows = Object.entries(rows);
  }

  /** The price of a model; undefined if none is known. */
  of(provider: { readonly name: string; readonly local: boolean }, model: string) {
    const name = `${provider.name}/${model}`;
    const exact = this.#rows.find(([row]) => row === name);
    const wide = this.#rows.find(([row]) => row.endsWith("*") && name.startsWith(row.slice(0, -1)));
    const [, price] = exact ?? wide ?? [];
    return price ?? (provider.local ? free : undefined);
  }
}

/** What an answer cost, in millionths of a US dollar, rounded up. */
export function costMicros({ inputTokens, outputTokens }: Usage, price: ModelPrice): number {
  const micros = inputTokens * price.inputMicros + outputTokens * price.outputMicros;
  return Math.ceil(micros / 1_000_000);
}

/**
 * Reads `provider/model=in:out` items with commas between; both in US dollars
 * for a million tokens. Calls back with each item that is none.
 */
export function parsePrices(
  items: readonly string[],
  onMistake: (item: string) => void,
): Record<string, ModelPrice> {
  const prices: Record<string, ModelPrice> = {};
  for (const item of items) {
    const [, name, input, output] =
      /^([^\s=]+\/[^\s=]+)=(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)$/.exec(item.trim()) ?? [];
    if (name === undefined) {
      onMistake(item);
      continue;
    }
    const micros = (dollars = "0") => Math.round(Number(dollars) * 1_000_000);
    prices[name] = { inputMicros: micros(input), outputMicros: micros(output) };
  }
  return prices;
}
