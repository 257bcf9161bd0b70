/** `devmesh audit verify`. */
import type { Command } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";

/** The command. */
export const command: Command = {
  summary: "Checks the chain of hashes over the audit; fails if a row does not fit.",
  usage: "audit verify [--expect HASH]",
  options: {
    expect: {
      value: "HASH",
      help: "a head hash of an earlier check: the chain must still have it",
    },
  },
  notes:
    "A chain that somebody with the database's password wrote anew shows only against a head\n" +
    "hash that was kept elsewhere: keep the one that this prints, and give it as --expect.",
  run: async ({ args, output, interrupts, devmesh }) => {
    args.words();
    const expectedHash = args.text("expect");
    const query = expectedHash === undefined ? {} : { expectedHash };
    const verdict = await devmesh().audit.verify(query, { signal: interrupts.signal });
    const { intact, rows, headHash, brokenId, detail } = verdict;
    if (output.json) {
      const counts = { rows: Number(rows), brokenId: Number(brokenId) };
      await output.document({ intact, headHash, detail, ...counts });
    } else if (intact) {
      await output.data(`intact: ${rows} rows, head ${headHash || "none"}\n`);
    } else {
      await output.data(`broken at row ${brokenId}: ${detail}\n`);
    }
    return intact ? exitCodes.ok : exitCodes.failed;
  },
};
