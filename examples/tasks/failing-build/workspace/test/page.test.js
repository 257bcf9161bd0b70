import assert from "node:assert/strict";
import { test } from "node:test";
import { readFileSync } from "node:fs";
import { render } from "../src/page.js";

test("escapes names", () => assert.equal(render("a<b"), "<h1>Hello, a&lt;b</h1>\n"));
test("the page is built", () => assert.match(readFileSync("dist/index.html", "utf8"), /Hello, World/));
