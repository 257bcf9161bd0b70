/** `devmesh doctor`. The checks are in `doctor-checks.ts`. */
import type { Command } from "../command.ts";
import { checkAll, type Finding } from "../doctor-checks.ts";
import { hostOptions } from "../host-door.ts";
import { findPlatform, loadPlatform, toExitCode } from "../platform-door.ts";
import { createPaint, type Paint } from "../style.ts";
import { version } from "../version.ts";

/** The command. */
export const command: Command = {
  summary: "Checks the server, the token, every part and what each runner can give.",
  usage: "doctor [--attack [options of the suite]]",
  options: {
    ...hostOptions,
    attack: { help: "try to break out of this host's own sandboxes; no server is needed" },
  },
  notes: "The exit code is 1 if something is broken.",
  passThrough: (argv) => argv.includes("--attack"),
  showMoreHelp: async () => {
    const platform = await findPlatform();
    if (platform === undefined) return;
    process.stdout.write("\n");
    await platform.runAttack(["--help"]);
  },
  run: async (context) => {
    const { args, output, env, url } = context;
    if (args.raw.includes("--attack")) {
      const rest = args.raw.filter((word) => word !== "--attack");
      return toExitCode(await (await loadPlatform()).runAttack(rest));
    }
    args.words();
    const findings = await checkAll(context);
    const isBroken = findings.some(({ state }) => state === "broken");
    if (output.json) {
      const checks = findings.map((finding) => ({ ...finding }));
      await output.document({ ok: !isBroken, url, version: version(), checks });
    } else {
      const paint = createPaint(env, process.stdout);
      for (const finding of findings) await output.data(formatFinding(finding, paint));
    }
    return isBroken ? 1 : 0;
  },
};

const looks = {
  ok: ["green", "✓ ok    "],
  warning: ["yellow", "! warn  "],
  broken: ["red", "✗ broken"],
} as const;

function formatFinding({ state, check, detail, remedy }: Finding, paint: Paint): string {
  const [colour, word] = looks[state];
  const first = `${paint(colour, word)} ${check}: ${detail}\n`;
  return remedy === "" ? first : `${first}           remedy: ${remedy}\n`;
}
