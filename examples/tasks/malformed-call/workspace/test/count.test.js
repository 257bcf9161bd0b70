import assert from "node:assert/strict";
import { test } from "node:test";
import { countWords } from "../src/count.js";

test("counts words", () => assert.equal(countWords(" one  two\nthree "), 3));
test("nothing has none", () => assert.equal(countWords(""), 0));
