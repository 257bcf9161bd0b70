/** `devmesh tokens revoke`. */
import { toJson } from "@bufbuild/protobuf";
import { TokenSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";

/** The command. */
export const command: Command = {
  summary: "Ends a token at once.",
  usage: "tokens revoke ID",
  options: {},
  run: async ({ args, output, interrupts, devmesh }) => {
    const [id = ""] = args.words("ID");
    const token = await devmesh().tokens.revoke(id, { signal: interrupts.signal });
    if (output.json) await output.document({ token: toJson(TokenSchema, token) });
    else await output.data(`${token.id} revoked\n`);
    return 0;
  },
};
