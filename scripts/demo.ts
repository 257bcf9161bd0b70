/**
 * The first run: starts a platform, shows every part of it on this
 * repository, and stops it. `--json` ends with one line for programs, `--keep`
 * leaves the platform running.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { getParts } from "./demo/parts.ts";
import { startPlatform } from "./demo/platform.ts";
import { Report } from "./demo/report.ts";
import { runStages } from "./demo/stages.ts";

const root = join(import.meta.dirname, "..");
const { json, keep } = readOptions();
const report = new Report({ json });

try {
  report.title("devmesh: the first run");
  const parts = await report.stage("parts", "gets what this machine lacks", () =>
    getParts((line) => report.say(line)),
  );
  const live = liveModel();
  const platform = await report.stage("up", "starts the platform", () =>
    startPlatform({
      ...parts.env,
      ...(live === undefined && {
        SCRIPTED_PATH: join(root, "examples", "ledger.conversation.json"),
      }),
    }),
  );
  report.say(`the console is at ${platform.url}`);
  try {
    const results = await runStages({
      devmesh: platform.devmesh,
      report,
      root,
      vmReason: parts.vmReason,
      agentModel: live ?? "scripted/ledger-replay",
    });
    report.finish({ ...results, url: platform.url });
  } finally {
    if (keep) {
      const pid = platform.leave();
      report.say(`it runs on: console ${platform.consoleUrl}, stop it with \`kill ${pid}\``);
    } else {
      await report.stage("stop", "stops the platform", () => platform.stop());
    }
  }
  report.end();
} catch (error) {
  report.fail(error);
}
process.exit();

/** What it was asked for. Help, and what it does not know, end the program. */
function readOptions(): { readonly json: boolean; readonly keep: boolean } {
  const help = `npm run demo: shows every part of devmesh on this repository

  -- --json   the last line on stdout is one JSON object
  -- --keep   leaves the platform running
`;
  try {
    const { values } = parseArgs({
      options: {
        json: { type: "boolean", default: false },
        keep: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (!values.help) return values;
    process.stdout.write(help);
    process.exit(0);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n${help}`);
    process.exit(2);
  }
}

/** The model for the agent where the user has set one up; undefined: none is set. */
function liveModel(): string | undefined {
  const { MODEL_CODING, OLLAMA_BASE_URL, CLOUD_API_KEYS, CLOUD_API_KEYS_FILE } = process.env;
  const configured = OLLAMA_BASE_URL ?? CLOUD_API_KEYS ?? CLOUD_API_KEYS_FILE;
  return configured === undefined ? undefined : (MODEL_CODING ?? "coding");
}
