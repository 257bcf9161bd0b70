import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAmount, parseAmount } from "../src/amount.js";

test("amounts become cents", () => {
  assert.equal(parseAmount("12.30"), 1230);
  assert.equal(parseAmount("7.5"), 750);
  assert.equal(parseAmount("-4"), -400);
  assert.equal(parseAmount("-18.50"), -1850);
  assert.throws(() => parseAmount("1,50"), TypeError);
});

test("cents are written with two digits", () => {
  assert.equal(formatAmount(1230), "12.30");
  assert.equal(formatAmount(-5), "-0.05");
  assert.equal(formatAmount(0), "0.00");
});
