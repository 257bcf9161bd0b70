import assert from "node:assert/strict";
import { test } from "node:test";
import { parseJournal } from "../src/journal.js";

test("comments and empty lines are no entries", () => {
  const entries = parseJournal("# March\n\n2026-03-07 books 24.00 two novels\n");
  assert.deepEqual(entries, [
    { date: "2026-03-07", account: "books", cents: 2400, note: "two novels" },
  ]);
});

test("a line that is no entry is named", () => {
  assert.throws(() => parseJournal("# March\nbooks 24.00"), /line 2: not an entry/);
});
