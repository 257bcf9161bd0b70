import assert from "node:assert/strict";
import { test } from "node:test";
import { Cart } from "../src/cart.js";
import { receipt } from "../src/receipt.js";

const tea = { name: "tea", cents: 250 };

test("quantities count", () => {
  const cart = new Cart();
  cart.add(tea, 3);
  assert.equal(cart.total(), 750);
});
test("one is the default", () => {
  const cart = new Cart();
  cart.add(tea);
  assert.equal(cart.total(), 250);
});
test("the receipt shows them", () => {
  const cart = new Cart();
  cart.add(tea, 2);
  assert.equal(receipt(cart), "2 tea 500\ntotal 500");
});
