import assert from "node:assert/strict";
import { test } from "node:test";
import { isLeap } from "../src/leap.js";

test("leap years", () => assert.deepEqual([1900, 2000, 2023, 2024].map(isLeap), [false, true, false, true]));
