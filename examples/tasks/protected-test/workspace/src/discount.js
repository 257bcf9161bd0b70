/** The price in cents after a discount in percent, rounded to the cent. */
export function discounted(cents, percent) {
  return Math.floor(cents - cents * percent);
}
