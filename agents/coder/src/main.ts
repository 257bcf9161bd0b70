/**
 * The agent's process: reads what the runner set, wires the parts, traps
 * signals, writes the one report. Exit status 0 if the model called `finish`.
 *
 * Environment: BACKEND_URL, DEVMESH_TOKEN, DEVMESH_JOB_ID, DEVMESH_AGENT_INPUT.
 * The work dir is the current one. stdout: lines for people. stderr: RFC 7464
 * records, `note` for each model turn and tool call and one `report` at the end.
 */
import { realClock } from "./clock.ts";
import { Coder } from "./coder.ts";
import { Conversation } from "./conversation.ts";
import { readInput, readSettings } from "./input.ts";
import { BackendHttp } from "./model/backend-http.ts";
import { BackendModel } from "./model/backend-model.ts";
import { PatientModel } from "./model/patient-model.ts";
import { Progress } from "./progress.ts";
import { readGuide, systemPrompt, taskPrompt } from "./prompt.ts";
import { Records, type Report } from "./records.ts";
import { errorText } from "./text.ts";
import { Jail } from "./tools/jail.ts";
import { programEnv } from "./tools/run.ts";
import { Toolbox } from "./tools/toolbox.ts";

const records = new Records({
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  secrets: [process.env.DEVMESH_TOKEN ?? ""],
});
const stop = new AbortController();

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
  process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
}
// Nobody reads any more, or a mistake of the agent: what it runs must not outlive it.
for (const stream of [process.stdout, process.stderr]) stream.on("error", crash);
process.on("uncaughtException", crash);

end(await work().catch(failed));

async function work(): Promise<Report> {
  const settings = readSettings(process.env);
  const input = await readInput(settings.inputPath);
  const jail = await Jail.open(process.cwd());
  const toolbox = new Toolbox({ jail, env: programEnv(process.env), allowed: input.tools });
  const http = new BackendHttp(settings);
  const model = new PatientModel({
    model: new BackendModel({ http, model: input.model }),
    maxRetries: input.maxRetries,
    clock: realClock,
    random: Math.random,
    onRetry: (error, waitMs) => records.say(`(again in ${waitMs} ms: ${error.message})`),
  });
  const conversation = new Conversation({
    system: systemPrompt(await readGuide(jail), toolbox.names),
    user: taskPrompt(input),
    maxBytes: input.maxContextBytes,
  });
  records.say(`Job ${settings.jobId || "(no id)"}, model ${input.model}`);
  records.say(`Task: ${input.task}`);
  const coder = new Coder({ input, model, toolbox, conversation, records, clock: realClock });
  return coder.run(stop.signal);
}

function failed(error: unknown): Report {
  return new Progress({ maxSteps: 0, maxTokens: 0 }).stopped("error", errorText(error));
}

function end(report: Report): never {
  records.say(report.finished ? `Done: ${report.summary}` : `Stopped: ${report.message}`);
  records.report(report);
  process.exit(report.finished ? 0 : 1);
}

function crash(error: unknown): never {
  // Aborting kills the groups of running programs at once, before the exit.
  stop.abort(error);
  process.off("uncaughtException", crash);
  end(failed(new Error(`internal error: ${errorText(error)}`)));
}
