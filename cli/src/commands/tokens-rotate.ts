/** `devmesh tokens rotate`. */
import { toJson } from "@bufbuild/protobuf";
import { TokenSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";
import { parseDuration } from "../duration.ts";

/** The command. */
export const command: Command = {
  summary: "Gives a token a new secret, shown once, on stdout.",
  usage: "tokens rotate ID [--grace TIME]",
  options: {
    grace: { value: "TIME", help: "how long the old secret works on, as 1h (default: not at all)" },
  },
  run: async ({ args, output, interrupts, devmesh }) => {
    const [id = ""] = args.words("ID");
    const grace = args.text("grace");
    const rotation = grace === undefined ? {} : { graceMs: parseDuration("--grace", grace) };
    const options = { signal: interrupts.signal };
    const { token, secret } = await devmesh().tokens.rotate(id, rotation, options);
    if (output.json) await output.document({ token: toJson(TokenSchema, token), secret });
    else {
      await output.data(`${secret}\n`);
      const old = grace === undefined ? "has ended" : `ends in ${grace}`;
      await output.talk(`token ${token.id}; the old secret ${old}; keep the new one`);
    }
    return 0;
  },
};
