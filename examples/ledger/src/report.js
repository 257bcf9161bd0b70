/** Shows balances to people. */
import { formatAmount } from "./amount.js";
import { balances, total } from "./ledger.js";

/** One line for each account and one for all of them; the amounts line up at their ends. */
export function report(entries) {
  const rows = [...balances(entries), ["total", total(entries)]];
  const names = Math.max(...rows.map(([name]) => name.length));
  const amounts = Math.max(...rows.map(([, cents]) => formatAmount(cents).length));
  return rows
    .map(([name, cents]) => `${name.padEnd(names)}  ${formatAmount(cents).padStart(amounts)}`)
    .join("\n");
}
