/** `devmesh console`. */
import type { Command } from "../command.ts";
import { showTime } from "../job-text.ts";

/** The command. */
export const command: Command = {
  summary: "Prints a link that opens the console once, within five minutes.",
  usage: "console [options]",
  options: { "console-url": { value: "URL", help: "where the console is (default: the server)" } },
  run: async ({ args, output, url, interrupts, devmesh }) => {
    args.words();
    const { secret, expireTime } = await devmesh().tokens.createLink({ signal: interrupts.signal });
    const base = (args.text("console-url") ?? url).replace(/\/+$/, "");
    const link = `${base}/#link=${encodeURIComponent(secret)}`;
    const expires = showTime(expireTime);
    if (output.json) await output.document({ url: link, expireTime: expires });
    else {
      await output.data(`${link}\n`);
      await output.talk(`opens once, until ${expires}`);
    }
    return 0;
  },
};
