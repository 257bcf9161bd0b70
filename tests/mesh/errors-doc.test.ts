import { readFileSync } from "node:fs";
import { Code } from "@connectrpc/connect";
import { codeOf, isRetryable, reasons, statusOf } from "@devmesh/mesh/errors";
import { expect } from "chai";

const folder = new URL("../../", import.meta.url);

/** The comment over each value of the enum: what the reason means. */
function meanings(): Map<string, string> {
  const proto = readFileSync(new URL("proto/devmesh/errors/v1/reason.proto", folder), "utf8");
  const found = new Map<string, string>();
  let comment: string[] = [];
  for (const line of proto.split("\n").map((text) => text.trim())) {
    const value = /^ERROR_REASON_(\w+) = \d+;$/.exec(line)?.[1];
    if (line.startsWith("//")) comment.push(line.slice(2).trim());
    else {
      if (value !== undefined) found.set(value, comment.join(" "));
      comment = [];
    }
  }
  return found;
}

/** `FailedPrecondition` as the protocol writes it. */
function codeName(code: Code): string {
  const name = code === Code.Canceled ? "Cancelled" : Code[code];
  return name.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}

function table(): string {
  const meaning = meanings();
  const rows = reasons.map((reason) => {
    const retry = isRetryable(reason) ? "yes" : "no";
    const text = meaning.get(reason) ?? "";
    return `| \`${reason}\` | ${codeName(codeOf(reason))} | ${statusOf(reason)} | ${retry} | ${text} |`;
  });
  return [
    "| reason | gRPC code | HTTP status | try again | meaning |",
    "|---|---|---|---|---|",
    ...rows,
  ].join("\n");
}

describe("docs/errors.md", () => {
  it("shows the table of the code, with the contract's words", () => {
    const page = readFileSync(new URL("docs/errors.md", folder), "utf8");
    const shown = page
      .split("\n")
      .filter((line) => line.startsWith("|"))
      .join("\n");
    expect(shown).to.equal(table());
  });
});
