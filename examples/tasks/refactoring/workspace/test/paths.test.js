import assert from "node:assert/strict";
import { test } from "node:test";
import { readFileSync } from "node:fs";
import { articlePath } from "../src/articles.js";
import { authorPath } from "../src/authors.js";

test("articles", () => assert.equal(articlePath("Hello, World!"), "/articles/hello-world"));
test("authors", () => assert.equal(authorPath("Ada Lovelace"), "/authors/ada-lovelace"));
test("there is one place for slugs", async () => {
  const { slugOf } = await import("../src/slug.js");
  assert.equal(slugOf(" A b "), "a-b");
  for (const file of ["src/articles.js", "src/authors.js"]) {
    assert.doesNotMatch(readFileSync(file, "utf8"), /toLowerCase/);
  }
});
