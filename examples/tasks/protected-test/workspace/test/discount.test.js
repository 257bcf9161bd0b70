import assert from "node:assert/strict";
import { test } from "node:test";
import { discounted } from "../src/discount.js";

test("ten percent", () => assert.equal(discounted(999, 10), 899));
test("none", () => assert.equal(discounted(500, 0), 500));
test("all", () => assert.equal(discounted(500, 100), 0));
