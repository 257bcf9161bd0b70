/**
 * Owns how texts and queries become words: identifiers are found whole and by
 * their parts. Stemming is left to each store's own text search.
 */

/** What to look for, in a form that has no syntax of its own. */
export interface QueryTerm {
  /** One or more words of letters and digits, lower case; several stand for a phrase. */
  readonly words: readonly string[];
}

/** The most terms that one query has; a long task keeps its rarest-looking ones. */
const maxTerms = 48;

const identifierPattern = /[\p{L}\p{N}\p{M}_$]+(?:[.:/-]+[\p{L}\p{N}\p{M}_$]+)*/gu;
const wordPattern = /[\p{L}\p{N}\p{M}]+/gu;

const stopWords = new Set(
  (
    "a about after all also am an and any are as at be because been before being both but by can could did do does " +
    "doing down each few for from further had has have having he her here him his how i if in into is it its just me " +
    "more most my no nor not of off on once only or other our out over own please same she should so some such than " +
    "that the their them then there these they this those through to too under until up us very was we were what when " +
    "where which while who whom why will with would you your"
  ).split(" "),
);

/** The words of a text in order, lower case. */
export function wordsOf(text: string): string[] {
  return (text.match(wordPattern) ?? []).map((word) => word.toLowerCase());
}

/** The parts of one identifier's word: `parseHTTPUrl2` has `parse`, `HTTP`, `Url2`. */
function camelParts(word: string): string[] {
  return word
    .replace(/(\p{Ll}|\p{N})(\p{Lu})/gu, "$1 $2")
    .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, "$1 $2")
    .split(" ");
}

/**
 * The words that a text's identifiers hide, for an extra search column: the
 * parts of `camelCase`, and `snake_case` as one word.
 */
export function hiddenWords(text: string): string {
  const found: string[] = [];
  for (const [identifier] of text.matchAll(/[\p{L}\p{N}\p{M}_$]+/gu)) {
    // Most words hide nothing, and telling so is cheap.
    if (!/[a-z0-9][A-Z]|[A-Z]{2}[a-z]|[_$]|[^\0-\x7f]/.test(identifier)) continue;
    const pieces = identifier.match(wordPattern) ?? [];
    const parts = pieces.flatMap(camelParts);
    if (parts.length > pieces.length) found.push(...parts);
    if (pieces.length > 1) found.push(pieces.join(""));
  }
  return found.join(" ").toLowerCase();
}

/**
 * What a query asks for: each word, each identifier as a phrase, and the parts
 * of identifiers. Whatever the query holds, the terms are only letters and digits.
 */
export function queryTerms(query: string): QueryTerm[] {
  const terms = new Map<string, QueryTerm>();
  const add = (words: readonly string[]) => {
    if (words.length > 0) terms.set(words.join(" "), { words });
  };
  const plain = wordsOf(query);
  const onlyStopWords = plain.every((word) => stopWords.has(word));
  for (const [identifier] of query.matchAll(identifierPattern)) {
    const pieces = identifier.match(wordPattern) ?? [];
    const parts = pieces.flatMap(camelParts).map((part) => part.toLowerCase());
    const whole = pieces.map((piece) => piece.toLowerCase());
    if (pieces.length > 1) {
      add(whole.slice(0, 16));
      if (/^[\p{L}\p{N}\p{M}_$]+$/u.test(identifier)) add([whole.join("")]);
    }
    for (const word of [...whole, ...parts]) {
      if (onlyStopWords || (!stopWords.has(word) && (word.length > 1 || plain.length === 1))) {
        add([word]);
      }
    }
  }
  return [...terms.values()].sort(byLikelyRarity).slice(0, maxTerms);
}

/** Phrases first, then long words: in a long task they tell most. */
function byLikelyRarity(a: QueryTerm, b: QueryTerm): number {
  return b.words.length - a.words.length || b.words.join("").length - a.words.join("").length;
}

/** Names in a query that can only mean one thing: `camelCase`, `snake_case`, `a/path.ts`. */
export function namesIn(query: string): string[] {
  const tokens = query.split(/[\s,;()"'`]+/).filter((token) => token !== "");
  if (tokens.length === 1) return tokens;
  return tokens.filter((token) =>
    /\p{Ll}\p{Lu}|[\p{L}\p{N}][_/][\p{L}\p{N}]|\w\.\w|::/u.test(token),
  );
}
