/** The program: prints the report of a journal. */
import { readFileSync } from "node:fs";
import { parseJournal } from "./journal.js";
import { report } from "./report.js";

const path = process.argv[2];
if (path === undefined) {
  console.error("usage: node src/main.js <journal>");
  process.exitCode = 2;
} else {
  console.log(report(parseJournal(readFileSync(path, "utf8"))));
}
