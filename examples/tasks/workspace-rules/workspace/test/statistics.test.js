import assert from "node:assert/strict";
import { test } from "node:test";
import { readFileSync } from "node:fs";
import { mean, median } from "../src/statistics.js";

test("mean", () => assert.equal(mean([1, 2, 6]), 3));
test("median of an odd and an even number", () => {
  assert.equal(median([9, 1, 4]), 4);
  assert.equal(median([9, 1, 4, 6]), 5);
});
test("lists stay as they are", () => {
  const list = [3, 1, 2];
  median(list);
  assert.deepEqual(list, [3, 1, 2]);
});
test("the change is told", () => assert.match(readFileSync("CHANGES.txt", "utf8"), /median/));
