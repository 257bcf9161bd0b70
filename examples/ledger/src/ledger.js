/** Adds entries up. */

/** The balance of every account in cents, accounts by name. */
export function balances(entries) {
  const sums = new Map();
  for (const { account, cents } of entries) {
    sums.set(account, (sums.get(account) ?? 0) + cents);
  }
  return new Map([...sums].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What all entries come to, in cents. */
export function total(entries) {
  return entries.reduce((sum, { cents }) => sum + cents, 0);
}
