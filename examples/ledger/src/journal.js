/** Owns the form of a journal: one entry a line. */
import { parseAmount } from "./amount.js";

const pattern = /^(\d{4}-\d{2}-\d{2})\s+(\S+)\s+(\S+)(?:\s+(.*))?$/;

/** Reads a journal. A line that is no entry is an error that names its number. */
export function parseJournal(text) {
  const entries = [];
  for (const [index, line] of text.split("\n").entries()) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    entries.push(parseEntry(trimmed, index + 1));
  }
  return entries;
}

function parseEntry(line, number) {
  const found = pattern.exec(line);
  if (found === null) throw new SyntaxError(`line ${number}: not an entry: ${line}`);
  const [, date, account, amount, note = ""] = found;
  return { date, account, cents: parseAmount(amount), note };
}
