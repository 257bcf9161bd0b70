/**
 * `npm run fuzz`: hostile input for every public method by every protocol,
 * against a platform in a process of its own. Ends with status 1 if anything
 * broke; what broke is named with the options that run it again.
 */
import { parseArgs } from "node:util";
import { type Failure, runCase, runPart, type Tally } from "./campaign.ts";
import { Http1Sender } from "./http1.ts";
import { Http2Sender } from "./http2.ts";
import { type FuzzedPlatform, startFuzzed } from "./platform.ts";
import { allTargets, type Protocol, protocols, type Target } from "./surface.ts";

const usage = `npm run fuzz -- [options]

  --seed N          the seed of all cases (default: by the clock, and printed)
  --per-method N    cases for each method, over all its protocols (default 10000)
  --method NAME     only methods whose name has this in it, for example JobService.CreateJob
  --protocol NAME   only ${protocols.join(", ")}
  --minutes M       stop after this time
  --case N          only this case, with what was sent and answered; needs --seed, --method
                    and --protocol
  --json            one line of JSON for each method and protocol
`;

/** Memory that the platform may occupy at the end, in MiB. */
const maxRssMib = 1536;

const options = readOptions();
const platform = await startFuzzed();
try {
  process.exitCode = options.case === undefined ? await runAll() : await runOne(options.case);
} finally {
  await platform.stop();
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        seed: { type: "string", default: String(Date.now() % 1_000_000_007) },
        "per-method": { type: "string", default: "10000" },
        method: { type: "string", default: "" },
        protocol: { type: "string", default: "" },
        minutes: { type: "string", default: "1000000" },
        case: { type: "string" },
        json: { type: "boolean", default: false },
      },
    });
    const numbers = [values.seed, values["per-method"], values.minutes, values.case ?? "0"];
    if (numbers.some((text) => !/^\d+(\.\d+)?$/.test(text))) throw new Error("wants a number");
    if (values.protocol !== "" && !protocols.some((name) => name === values.protocol)) {
      throw new Error(`--protocol wants one of ${protocols.join(", ")}`);
    }
    const targets = allTargets().filter(({ name }) => name.includes(values.method));
    if (targets.length === 0) throw new Error(`there is no method ${values.method}`);
    return {
      seed: Number(values.seed),
      perMethod: Number(values["per-method"]),
      minutes: Number(values.minutes),
      case: values.case === undefined ? undefined : Number(values.case),
      json: values.json,
      targets,
      protocol: values.protocol,
    };
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    console.error(usage);
    process.exit(2);
  }
}

function waysOf(target: Target): readonly Protocol[] {
  return target.protocols.filter((name) => options.protocol === "" || name === options.protocol);
}

async function runAll(): Promise<number> {
  const { seed, perMethod, minutes, targets } = options;
  const startedAt = performance.now();
  const untilMs = startedAt + minutes * 60_000;
  say(`seed ${seed}, ${targets.length} methods, memory ${platform.rssMib()} MiB`);
  const failures: Failure[] = [];
  const totals = { calls: 0, limited: 0 };
  for (const [i, target] of targets.entries()) {
    const ways = waysOf(target);
    // What time is left is shared by the methods that are left.
    const share = (untilMs - performance.now()) / (targets.length - i);
    for (const protocol of ways) {
      const count = Math.ceil(perMethod / ways.length);
      const until = performance.now() + share / ways.length;
      const part = { seed, target, protocol, from: 0, count, untilMs: Math.min(until, untilMs) };
      const tally = await runPart(platform, part);
      failures.push(...tally.failures);
      totals.calls += tally.calls;
      totals.limited += tally.outcomes.RATE_LIMITED ?? 0;
      print(tally, platform);
    }
    if (platform.hasEnded()) break;
  }
  const broken = platform.internalErrors();
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  const rss = platform.hasEnded() ? 0 : platform.rssMib();
  say(`${totals.calls} calls in ${seconds} s, ${failures.length} failures, memory ${rss} MiB`);
  for (const line of broken.slice(0, 10)) say(`log: ${line.slice(0, 2000)}`);
  if (rss > maxRssMib) say(`memory: over ${maxRssMib} MiB`);
  const isIdle = totals.limited > totals.calls / 2;
  if (isIdle) say("more than half of the calls met a rate limit: nothing was tested");
  return failures.length + broken.length > 0 || rss > maxRssMib || isIdle ? 1 : 0;
}

/** Runs one case and shows everything about it. */
async function runOne(number: number): Promise<number> {
  let failed = false;
  for (const target of options.targets) {
    for (const protocol of waysOf(target)) {
      const http1 = new Http1Sender(platform.port);
      const http2 = new Http2Sender(platform.port);
      const id = { seed: options.seed, target, protocol, number };
      const { request, answer, verdict } = await runCase(platform, id, { http1, http2 });
      const shown = answer.kind === "answer" ? { ...answer, headers: [...answer.headers] } : answer;
      const texts = { request: request.body.toString("latin1"), answer: bodyOf(answer) };
      console.dir(
        { target: target.name, protocol, request, answer: shown, texts, verdict },
        { depth: 4 },
      );
      failed ||= verdict.faults.length > 0 || !(await platform.isSound());
      http1.close();
      http2.close();
    }
  }
  for (const line of platform.internalErrors()) say(`log: ${line}`);
  return failed ? 1 : 0;
}

function bodyOf(answer: object): string {
  return "body" in answer ? String(answer.body) : "";
}

function print(tally: Tally, { rssMib, hasEnded }: FuzzedPlatform): void {
  const { target, protocol, calls, outcomes, failures } = tally;
  const rss = hasEnded() ? 0 : rssMib();
  if (options.json) {
    const { seed } = options;
    console.log(JSON.stringify({ seed, target, protocol, calls, outcomes, failures, rssMib: rss }));
    return;
  }
  const counts = Object.entries(outcomes).toSorted(([, a], [, b]) => b - a);
  const said = counts.map(([outcome, count]) => `${outcome} ${count}`).join(", ");
  console.log(`${target} ${protocol}: ${calls} calls, ${rss} MiB: ${said}`);
  for (const { number, faults, request } of failures) {
    console.log(`  FAILED: ${faults.join("; ")}`);
    console.log(`    ${request}`);
    const again = `--seed ${options.seed} --method ${target} --protocol ${protocol} --case ${number}`;
    console.log(`    again: npm run fuzz -- ${again}`);
  }
}

/** For people; with `--json` beside the lines for programs. */
function say(text: string): void {
  if (options.json) console.error(text);
  else console.log(text);
}
