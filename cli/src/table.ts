/** Owns columns of text. */
import { stripVTControlCharacters } from "node:util";

/** Rows under a head, columns padded; empty without rows. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => width(row[column] ?? ""))));
  return all.map((row) => `${formatRow(row, widths)}\n`).join("");
}

function formatRow(row: readonly string[], widths: readonly number[]): string {
  const cells = widths.map((wanted, column) => {
    const cell = row[column] ?? "";
    return cell + " ".repeat(wanted - width(cell));
  });
  return cells.join("  ").trimEnd();
}

function width(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}

/** Text from elsewhere, made safe for one line of a terminal. */
export function inline(text: string, most = 100): string {
  const plain = stripVTControlCharacters(text)
    .replaceAll(/[\p{Cc}\p{Cf}]+/gu, " ")
    .trim();
  return plain.length > most ? `${plain.slice(0, most - 1)}…` : plain;
}

/** Bytes for people. */
export function formatBytes(bytes: number | bigint): string {
  const units = ["B", "KiB", "MiB", "GiB"];
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
