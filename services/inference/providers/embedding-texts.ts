/**
 * What embedding models want done to a text and to its vector: prefixes by
 * purpose, and length 1. Running the models is left to the providers.
 */
import type { EmbedInput } from "./provider.ts";

interface Prefixes {
  readonly model: RegExp;
  readonly document: string;
  readonly query: string;
}

const prefixes: readonly Prefixes[] = [
  {
    model: /bge-(small|base|large)-en|mxbai-embed/,
    document: "",
    query: "Represent this sentence for searching relevant passages: ",
  },
  { model: /nomic-embed-text/, document: "search_document: ", query: "search_query: " },
  { model: /(^|\/)e5-|multilingual-e5/, document: "passage: ", query: "query: " },
];

/** The texts with the prefix that the model was trained with for this purpose. */
export function prefixedTexts({ model, texts, purpose }: EmbedInput): readonly string[] {
  const found = prefixes.find((row) => row.model.test(model.toLowerCase()));
  const prefix = found?.[purpose] ?? "";
  return prefix === "" ? texts : texts.map((text) => prefix + text);
}

/** The same direction with length 1 (L2). A vector of zeros stays as it is. */
export function unitVector(values: ArrayLike<number>): Float32Array {
  const vector = Float32Array.from(values);
  let square = 0;
  for (const value of vector) square += value * value;
  if (square === 0) return vector;
  const scale = 1 / Math.sqrt(square);
  for (let i = 0; i < vector.length; i++) vector[i] = (vector[i] ?? 0) * scale;
  return vector;
}
