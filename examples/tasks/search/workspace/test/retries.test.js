import assert from "node:assert/strict";
import { test } from "node:test";
import { retriesByName } from "../src/retries.js";

test("every service says how often it is tried again", async () => {
  const found = await retriesByName();
  assert.equal(Object.keys(found).length, 30);
  for (const [name, retries] of Object.entries(found)) assert.ok(retries >= 1, name);
});
