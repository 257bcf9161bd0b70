import assert from "node:assert/strict";
import { test } from "node:test";
import { parseJournal } from "../src/journal.js";
import { balances, total } from "../src/ledger.js";

test("the entries of an account add up", () => {
  const entries = parseJournal("2026-03-02 groceries 12.30\n2026-03-03 groceries 4.20");
  assert.deepEqual([...balances(entries)], [["groceries", 1650]]);
});

test("a deposit that comes back lowers the total", () => {
  const entries = parseJournal("2026-03-02 groceries 12.30\n2026-03-05 groceries -0.45");
  assert.equal(total(entries), 1185);
});
