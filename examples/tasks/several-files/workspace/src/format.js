/** One digit behind the point. */
export function format(value, unit) {
  return `${Math.round(value)} ${unit}`;
}
