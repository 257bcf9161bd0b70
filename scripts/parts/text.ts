/** What of a part's long output an error quotes: its last lines. Which log it is, and when it is quoted, is left to the parts. */
import { readFile } from "node:fs/promises";

/** The last `count` lines of a text, joined so that they read within one message. */
export function lastLines(text: string, count: number): string {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .slice(-count)
    .join(" | ");
}

/** The last lines of a log file; says so when there are none. */
export async function logTail(path: string, count = 8): Promise<string> {
  const text = await readFile(path, "utf8").catch(() => "");
  return lastLines(text, count) || "(its log is empty)";
}
