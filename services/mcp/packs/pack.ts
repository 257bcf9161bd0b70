/**
 * Owns how a pack is put together: which hits go in, in what order, and how
 * they read. Its tokens are counted as a whole: the sum of the parts is only a guess.
 */
import type { SearchHit } from "../search/search.ts";
import type { TokenCounter } from "./token-counter.ts";

/** One piece of a pack, or one that stayed out. */
export interface PackItem {
  readonly source: string;
  readonly startLine: number;
  readonly endLine: number;
  readonly tokens: number;
  /** Why it is in, or why it was left out. */
  readonly why: string;
}

/** Context under a budget. */
export interface Pack {
  readonly text: string;
  /** Never more than the budget. */
  readonly tokens: number;
  /** What went in, in order. */
  readonly items: readonly PackItem[];
  /** What was found but left out, best first. */
  readonly leftOut: readonly PackItem[];
  readonly tokenizer: string;
}

/** A hit that may go in, with its tokens where it stands alone. */
interface Candidate {
  readonly hit: SearchHit;
  /** Its place among the hits, from 0. */
  readonly place: number;
  readonly tokens: number;
}

/** Neighbouring candidates of one document, under one header. */
type Section = readonly Candidate[];

/** The most items that are reported as left out. */
const maxLeftOut = 50;

/** Picks hits, best first, while they fit. `hits` are best first. */
export async function makePack(
  hits: readonly SearchHit[],
  budgetTokens: number,
  counter: TokenCounter,
  signal: AbortSignal,
): Promise<Pack> {
  const rendered = hits.map((hit) => render(hit.chunk.text, hit.chunk));
  const { counts, tokenizer } = await counter.count(["", ...rendered], signal);
  const candidates = hits.map((hit, place) => ({ hit, place, tokens: counts[place + 1] ?? 0 }));
  const { picked, leftOut } = pick(candidates, budgetTokens);

  for (;;) {
    const sections = toSections(picked);
    const texts = sections.map(renderSection);
    const text = texts.join("\n");
    const whole = await counter.count([text, ...texts], signal);
    const tokens = whole.counts[0] ?? 0;
    if (tokens > budgetTokens && picked.length > 0) {
      const dropped = picked.pop();
      if (dropped !== undefined) leftOut.push(toItem([dropped], dropped.tokens, overBudget));
      continue;
    }
    const items = sections.map((section, i) =>
      toItem(section, whole.counts[i + 1] ?? 0, whyIn(section)),
    );
    return { text, tokens, items, leftOut: leftOut.slice(0, maxLeftOut), tokenizer };
  }
}

const overBudget = "over the budget";

function pick(candidates: readonly Candidate[], budgetTokens: number) {
  const picked: Candidate[] = [];
  const leftOut: PackItem[] = [];
  const seen = new Map<string, Candidate>();
  let sum = 0;
  for (const candidate of candidates) {
    const { text } = candidate.hit.chunk;
    const words = text.replaceAll(/\s+/g, " ").trim();
    const twin = seen.get(words);
    if (twin !== undefined) {
      leftOut.push(toItem([candidate], candidate.tokens, `the same as ${place(twin.hit.chunk)}`));
    } else if (sum + candidate.tokens > budgetTokens) {
      leftOut.push(toItem([candidate], candidate.tokens, overBudget));
    } else {
      seen.set(words, candidate);
      picked.push(candidate);
      sum += candidate.tokens;
    }
  }
  return { picked, leftOut };
}

/** Documents in the order of their best hit; within one, from top to bottom; neighbours joined. */
function toSections(picked: readonly Candidate[]): Section[] {
  const byDocument = Map.groupBy(
    picked,
    ({ hit: { chunk } }) => `${chunk.collection}:${chunk.source}`,
  );
  return [...byDocument.values()].flatMap((candidates) => {
    const ordered = candidates.toSorted((a, b) => a.hit.chunk.ordinal - b.hit.chunk.ordinal);
    const sections: Candidate[][] = [];
    for (const candidate of ordered) {
      const section = sections.at(-1);
      const above = section?.at(-1)?.hit.chunk.ordinal;
      if (above !== undefined && candidate.hit.chunk.ordinal === above + 1)
        section?.push(candidate);
      else sections.push([candidate]);
    }
    return sections;
  });
}

function renderSection(section: Section): string {
  const text = section.map(({ hit }) => hit.chunk.text).join("");
  return render(text, extent(section));
}

interface Extent {
  readonly source: string;
  readonly startLine: number;
  readonly endLine: number;
}

function extent(section: Section): Extent {
  const { source = "", startLine = 0, endLine = 0 } = section[0]?.hit.chunk ?? {};
  return { source, startLine, endLine: section.at(-1)?.hit.chunk.endLine ?? endLine };
}

const place = ({ source, startLine, endLine }: Extent) => `${source}:${startLine}-${endLine}`;

function render(text: string, where: Extent): string {
  return `### ${place(where)}\n${text}${text.endsWith("\n") ? "" : "\n"}`;
}

function toItem(section: Section, tokens: number, why: string): PackItem {
  return { ...extent(section), tokens, why };
}

/** The places of the best hit in it: `keyword 1, vector 4`. */
function whyIn(section: Section): string {
  const best = section.reduce((a, b) => (b.place < a.place ? b : a));
  const { keywordRank, vectorRank } = best.hit;
  const ranks = [
    keywordRank > 0 && `keyword ${keywordRank}`,
    vectorRank > 0 && `vector ${vectorRank}`,
  ];
  const joined = section.length > 1 ? `, joined ${section.length} neighbours` : "";
  return `${ranks.filter(Boolean).join(", ")}${joined}`;
}
