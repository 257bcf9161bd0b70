import assert from "node:assert/strict";
import { test } from "node:test";
import { toCelsius, toFahrenheit } from "../src/convert.js";
import { format } from "../src/format.js";
import { describe } from "../src/index.js";

test("water boils", () => assert.equal(toFahrenheit(100), 212));
test("and back", () => assert.equal(toCelsius(212), 100));
test("one digit", () => assert.equal(format(36.64, "C"), "36.6 C"));
test("both units", () => assert.equal(describe(20), "20.0 C is 68.0 F"));
