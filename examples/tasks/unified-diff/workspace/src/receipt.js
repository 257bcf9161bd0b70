export function receipt(cart) {
  const lines = cart.items.map((item) => `${item.name} ${item.cents}`);
  return [...lines, `total ${cart.total()}`].join("\n");
}
