export class Cart {
  constructor() {
    this.items = [];
  }

  add(item, quantity) {
    this.items.push(item);
  }

  total() {
    return this.items.reduce((sum, item) => sum + item.cents, 0);
  }
}
