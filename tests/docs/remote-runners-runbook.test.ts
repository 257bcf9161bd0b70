/** Every command of the runbook of remote runners is one that there is; the e2e tests run them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { readArgs } from "../../cli/src/args.ts";
import { findCommand } from "../../cli/src/registry.ts";

const page = join(import.meta.dirname, "..", "..", "docs", "runbooks", "remote-runners.md");

describe("the runbook of remote runners", () => {
  const blocks = [...readFileSync(page, "utf8").matchAll(/```sh\n([\s\S]*?)```/g)];
  const lines = blocks.flatMap(([, text = ""]) => text.trim().split("\n"));

  it("has commands", () => expect(lines.length).to.be.greaterThan(6));

  for (const line of lines) {
    it(`${line} is a command with these options`, async () => {
      const [program, ...words] = line.split(" ");
      expect(program).to.equal("devmesh");
      const found = findCommand(words);
      if (found === undefined) throw new Error("there is no such command");
      const { command } = await found.entry.load();
      readArgs(words.slice(found.length), command.options);
    });
  }
});
