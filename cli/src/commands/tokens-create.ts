/** `devmesh tokens create`. */
import { toJson } from "@bufbuild/protobuf";
import { TokenSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";
import { parseDuration } from "../duration.ts";
import { UsageError } from "../usage-error.ts";

/** The command. */
export const command: Command = {
  summary: "Makes a token; its secret is shown once, on stdout.",
  usage: "tokens create NAME --scope SCOPE [options]",
  options: {
    scope: {
      value: "SCOPE",
      multiple: true,
      help: "what it may do, as read:jobs; may be repeated",
    },
    owner: { value: "NAME", help: "whose it shall be (default: yours; needs admin:owners)" },
    expires: { value: "TIME", help: "how long it lives, for example 30d (default: for ever)" },
  },
  run: async ({ args, output, interrupts, devmesh }) => {
    const [name = ""] = args.words("NAME");
    const scopes = args.list("scope").flatMap((list) => list.split(","));
    if (scopes.length === 0) {
      throw new UsageError(
        "--scope is missing",
        "for example --scope read:jobs --scope write:jobs",
      );
    }
    const expires = args.text("expires");
    const ttl = expires === undefined ? {} : { ttlMs: parseDuration("--expires", expires) };
    const owner = args.text("owner");
    const input = { name, scopes, ...ttl, ...(owner !== undefined && { owner }) };
    const options = { signal: interrupts.signal };
    const { token, secret } = await devmesh().tokens.create(input, options);
    if (output.json) await output.document({ token: toJson(TokenSchema, token), secret });
    else {
      await output.data(`${secret}\n`);
      await output.talk(`token ${token.id}; keep the secret, it is not shown again`);
    }
    return 0;
  },
};
