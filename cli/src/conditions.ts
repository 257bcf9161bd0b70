/** Owns the options on a job's conditions, which `run` and `agent` share. */
import { isolationNames, type JobConditions } from "@devmesh/sdk";
import type { Args, OptionTable } from "./args.ts";
import { parseDuration } from "./duration.ts";
import { networkOptions, readNetwork } from "./network.ts";
import { readLabels } from "./runner-labels.ts";
import { parseCpuMillis, parseMib } from "./size.ts";
import { UsageError } from "./usage-error.ts";

const dayMs = 86_400_000;

/** The options. */
export const conditionOptions: OptionTable = {
  isolation: { value: "TIER", help: `the least isolation: ${isolationNames.join(", ")}` },
  memory: { value: "SIZE", help: "the most memory, without swap, for example 64m, 2g" },
  disk: { value: "SIZE", help: "the size of its work dir and scratch, for example 64m, 2g" },
  pids: { value: "N", help: "the most processes and threads at once" },
  cpus: { value: "N", help: "processors, for example 0.5" },
  timeout: { value: "TIME", help: "end the job after this time, for example 90s, 15m" },
  "silence-timeout": { value: "TIME", help: "end the job after this long without output" },
  "queue-timeout": { value: "TIME", help: "fail the job if it has not started by then" },
  delay: { value: "TIME", help: "start it no sooner than after this time" },
  priority: { value: "N", help: "higher starts first, -1000 to 1000 (default: 0; --priority=-1)" },
  concurrency: {
    value: "KEY[:LIMIT]",
    help: "at most LIMIT jobs with this key run at once (default: 1)",
  },
  retries: { value: "N", help: "start it again up to N times, 0 to 19 (default: 1)" },
  "retry-failures": { help: "start it again after a failure too, not only after a lost runner" },
  "min-backoff": { value: "TIME", help: "the first wait before another start (default: 1s)" },
  "max-backoff": { value: "TIME", help: "the longest wait before another start (default: 5m)" },
  ...networkOptions,
  on: { value: "K=V", multiple: true, help: "run on machines with this label; may be repeated" },
  label: { value: "K=V", multiple: true, help: "a label; may be repeated" },
};

/** What the options say. Throws `UsageError`. */
export function readConditions(args: Args): JobConditions {
  const isolation = args.choice("isolation", isolationNames);
  const retries = args.integer("retries", 0, 19);
  const priority = args.integer("priority", -1000, 1000);
  const concurrency = args.text("concurrency");
  const network = readNetwork(args);
  const limits = {
    ...capOptions(args),
    ...durationOption(args, "timeout", "runTimeoutMs", dayMs),
    ...durationOption(args, "silence-timeout", "silenceTimeoutMs", dayMs),
    ...durationOption(args, "queue-timeout", "queueTimeoutMs", 90 * dayMs),
  };
  const retry = {
    ...(args.flag("retry-failures") && { failures: true }),
    ...durationOption(args, "min-backoff", "minBackoffMs", dayMs),
    ...durationOption(args, "max-backoff", "maxBackoffMs", dayMs),
  };
  return {
    ...(isolation && { isolation }),
    ...(Object.keys(limits).length > 0 && { limits }),
    ...durationOption(args, "delay", "startDelayMs", 30 * dayMs),
    ...(priority !== undefined && { priority }),
    ...(concurrency !== undefined && { concurrency: parseConcurrency(concurrency) }),
    ...(retries !== undefined && { maxAttempts: retries + 1 }),
    ...(Object.keys(retry).length > 0 && { retry }),
    ...(network && { network }),
    labels: args.pairs("label"),
    runnerLabels: readLabels("--on", args.list("on")),
  };
}

/** Below the least nothing runs; the most is the contract's own. */
const caps = {
  memoryMib: [16, 1_048_576],
  diskMib: [4, 1_048_576],
  pids: [4, 100_000],
  cpus: [0.01, 1024],
} as const;

function capOptions(args: Args): NonNullable<JobConditions["limits"]> {
  const memory = args.text("memory");
  const disk = args.text("disk");
  const cpus = args.text("cpus");
  const pids = args.integer("pids", ...caps.pids);
  return {
    ...(memory !== undefined && { memoryMib: parseMib("--memory", memory, ...caps.memoryMib) }),
    ...(disk !== undefined && { diskMib: parseMib("--disk", disk, ...caps.diskMib) }),
    ...(pids !== undefined && { pids }),
    ...(cpus !== undefined && { cpuMillis: parseCpuMillis("--cpus", cpus, ...caps.cpus) }),
  };
}

function durationOption<Name extends string>(
  args: Args,
  option: string,
  name: Name,
  mostMs: number,
): { readonly [K in Name]?: number } {
  const text = args.text(option);
  if (text === undefined) return {};
  const value = parseDuration(`--${option}`, text, mostMs);
  return { [name]: value } as { readonly [K in Name]?: number };
}

/** `KEY` or `KEY:LIMIT`; a colon with no number behind it belongs to the key. */
function parseConcurrency(text: string): NonNullable<JobConditions["concurrency"]> {
  const match = /^(.*):(\d+)$/s.exec(text);
  const key = match?.[1] ?? text;
  const limit = match === null ? undefined : Number(match[2]);
  const bytes = Buffer.byteLength(key);
  if (bytes < 1 || bytes > 128 || (limit !== undefined && (limit < 1 || limit > 10_000))) {
    throw new UsageError(
      `--concurrency: ${JSON.stringify(text)} is not KEY[:LIMIT]`,
      "the key has 1 to 128 bytes, the limit is a number from 1 to 10000, for example deploy:2",
    );
  }
  return { key, ...(limit !== undefined && { limit }) };
}
