import assert from "node:assert/strict";
import { test } from "node:test";
import { readSettings } from "../src/settings.js";

test("defaults hold where nothing is said", () => {
  assert.deepEqual(readSettings('{"size": 14}'), { theme: "light", size: 14 });
});
