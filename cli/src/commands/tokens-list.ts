/** `devmesh tokens list`. */
import { toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@devmesh/sdk";
import { TokenSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";
import { showTime } from "../job-text.ts";
import { formatTable, inline } from "../table.ts";

/** The command. */
export const command: Command = {
  summary: "Lists the tokens, newest first, without their secrets.",
  usage: "tokens list",
  options: {},
  run: async ({ args, output, interrupts, devmesh }) => {
    args.words();
    const tokens = await devmesh().tokens.list({ signal: interrupts.signal });
    if (output.json) {
      await output.document({ tokens: tokens.map((token) => toJson(TokenSchema, token)) });
      return 0;
    }
    const rows = tokens.map((token) => {
      const isExpired = token.expireTime && timestampDate(token.expireTime).getTime() < Date.now();
      const state = token.revokeTime === undefined ? (isExpired ? "expired" : "valid") : "revoked";
      return [
        token.id,
        inline(token.name),
        inline(token.owner),
        state,
        showTime(token.expireTime),
        token.scopes.join(" "),
      ];
    });
    await output.data(formatTable(["ID", "NAME", "OWNER", "STATE", "EXPIRES", "SCOPES"], rows));
    return 0;
  },
};
