/** Owns how an amount is written; everywhere else it is a whole number of cents. */

const pattern = /^([+-]?\d+)(?:\.(\d{1,2}))?$/;

/** Reads an amount, for example `12.30`, `-4` or `7.5`, as cents. */
export function parseAmount(text) {
  const found = pattern.exec(text);
  if (found === null) throw new TypeError(`not an amount: ${text}`);
  const whole = Number(found[1]);
  const cents = Number((found[2] ?? "").padEnd(2, "0"));
  return whole * 100 + (whole < 0 ? -cents : cents);
}

/** Writes cents as an amount with two digits behind the point. */
export function formatAmount(cents) {
  const sign = cents < 0 ? "-" : "";
  const digits = String(Math.abs(cents)).padStart(3, "0");
  return `${sign}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}
