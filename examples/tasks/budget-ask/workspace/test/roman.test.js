import assert from "node:assert/strict";
import { test } from "node:test";
import { roman } from "../src/roman.js";

test("small ones", () => assert.deepEqual([1, 3, 5, 8].map(roman), ["I", "III", "V", "VIII"]));
test("those that subtract", () => assert.deepEqual([4, 9, 14, 19].map(roman), ["IV", "IX", "XIV", "XIX"]));
