/**
 * The agent's process: reads what the runner set, wires the parts, traps
 * signals, writes the one report. Exit status 0 if the model called `finish`.
 *
 * Environment: BACKEND_URL, DEVMESH_TOKEN, DEVMESH_JOB_ID, DEVMESH_AGENT_INPUT.
 * The work dir is the current one. stdout: lines for people. stderr: RFC 7464
 * records, `note` for each model turn and tool call, `checkpoint` for changed
 * files, and one `report` at the end.
 */
import { Checkpoints } from "./checkpoint.ts";
import { realClock } from "./clock.ts";
import { Coder } from "./coder.ts";
import { Conversation } from "./conversation.ts";
import { readInput, readSettings } from "./input.ts";
import { BackendHttp } from "./model/backend-http.ts";
import { BackendModel } from "./model/backend-model.ts";
import { ModelError } from "./model/model-error.ts";
import { chooseWindow, estimateTokens, listModels } from "./model/model-window.ts";
import { PatientModel } from "./model/patient-model.ts";
import { ToolModel } from "./model/tool-model.ts";
import { Progress } from "./progress.ts";
import { readGuides, systemPrompt, taskPrompt } from "./prompt.ts";
import { Records, type Report } from "./records.ts";
import { Replay } from "./replay.ts";
import { useOwnBranch } from "./repository.ts";
import { errorText } from "./text.ts";
import { Jail } from "./tools/jail.ts";
import { programEnv } from "./tools/run.ts";
import { Toolbox } from "./tools/toolbox.ts";
import { Transcript } from "./transcript.ts";

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
  const { signal } = stop;
  const jail = await Jail.open(process.cwd());
  const env = programEnv(process.env);
  const { tools: allowed, protectedPaths } = input;
  const toolbox = new Toolbox({ jail, env, allowed, protectedPaths });
  const http = new BackendHttp(settings);
  const model = new ToolModel({
    model: new PatientModel({
      model: new BackendModel({ http, model: input.model }),
      maxRetries: input.maxRetries,
      clock: realClock,
      random: Math.random,
      onRetry: (error, waitMs) => records.say(`(again in ${waitMs} ms: ${error.message})`),
    }),
    protocol: input.toolProtocol,
    onText: (why) => {
      const message = `the model is spoken to in plain text: ${why}`;
      records.note("agent.log", "info", message, { protocol: "text" });
    },
  });
  const system = systemPrompt(await readGuides(jail, signal), toolbox.names);
  const user = taskPrompt(input);
  const tools = JSON.stringify(toolbox.definitions());
  const facts = chooseWindow(input.model, await listModels(http, signal), {
    promptTokens: estimateTokens(system + user + tools),
    wantedTokens: estimateTokens(tools) + Math.ceil(input.maxContextBytes / 3),
  });
  if (!facts.hasToolCalls) model.useText("it has no tool calls of its own");
  if (new Replay(input.resume).protocol === "text") model.useText("it was so before");
  records.say(`Job ${settings.jobId || "(no id)"}, model ${input.model}`);
  records.say(`Task: ${input.task}`);
  const branch = await useOwnBranch(jail, settings.jobId, env, signal);
  if (branch !== "") records.say(`(${branch})`);
  const coder = new Coder({
    input,
    model,
    toolbox,
    conversation: new Conversation({
      system,
      user,
      maxBytes: Math.min(input.maxContextBytes, facts.maxBytes),
    }),
    records,
    transcript: new Transcript(records),
    clock: realClock,
    contextTokens: facts.contextTokens,
    checkpoints: input.checkpoints ? await Checkpoints.open(jail, records, signal) : undefined,
  });
  return coder.run(signal);
}

function failed(error: unknown): Report {
  const reason = error instanceof ModelError ? error.reason : "";
  const none = { maxSteps: 0, maxTokens: 0, maxCostMicros: 0 };
  return new Progress(none).stopped("error", errorText(error), reason);
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
