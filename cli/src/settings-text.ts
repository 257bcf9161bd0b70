/** Owns settings as people read and write them: `log_level=debug`, `token_rate=100:200`. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RateLimit, Settings, SettingsSchema } from "@devmesh/sdk/raw";
import { UsageError } from "./usage-error.ts";

type Change = MessageInitShape<typeof SettingsSchema>;
type RateInit = { perSecond: number; burst: number };

/** One row for each setting, in the form that `settings set` takes. */
export function settingRows(settings: Settings): [key: string, value: string][] {
  const { logLevel, providerPolicy, tokenRate, maxQueuedJobs, logRetentionDays } = settings;
  const byName = <T>([a]: [string, T], [b]: [string, T]) => (a < b ? -1 : 1);
  const rates = Object.entries(settings.methodRates).sort(byName);
  const features = Object.entries(settings.features).sort(byName);
  return [
    ["log_level", logLevel ?? ""],
    ["provider_policy", providerPolicy ?? ""],
    ["token_rate", showRate(tokenRate)],
    ...rates.map(([name, rate]): [string, string] => [`method_rates.${name}`, showRate(rate)]),
    ["max_queued_jobs", String(maxQueuedJobs ?? "")],
    ["log_retention_days", String(logRetentionDays ?? "")],
    ...features.map(([name, on]): [string, string] => [`features.${name}`, String(on)]),
  ];
}

/** The change that `KEY=VALUE` words ask for. Throws `UsageError`. */
export function readChange(words: readonly string[]): Change {
  const methodRates: Record<string, RateInit> = {};
  const features: Record<string, boolean> = {};
  const change: Change = { methodRates, features };
  for (const word of words) {
    const [, key = "", value = ""] = /^([^=]+)=(.*)$/s.exec(word) ?? [];
    if (key === "") throw new UsageError(`${JSON.stringify(word)} is not KEY=VALUE`);
    const [head, ...rest] = key.split(".");
    const name = rest.join(".");
    switch (name === "" ? key : head) {
      case "log_level":
        change.logLevel = value;
        break;
      case "provider_policy":
        change.providerPolicy = value;
        break;
      case "token_rate":
        change.tokenRate = readRate(key, value);
        break;
      case "max_queued_jobs":
        change.maxQueuedJobs = readCount(key, value);
        break;
      case "log_retention_days":
        change.logRetentionDays = readCount(key, value);
        break;
      case "method_rates":
        if (name === "") throw new UsageError(`${key}: wants method_rates.SERVICE.METHOD=RATE`);
        methodRates[name] = readRate(key, value);
        break;
      case "features":
        if (name === "") throw new UsageError(`${key}: wants features.NAME=true or false`);
        features[name] = readFlag(key, value);
        break;
      default:
        throw new UsageError(
          `there is no setting ${JSON.stringify(key)}`,
          "`devmesh settings` lists them",
        );
    }
  }
  return change;
}

function showRate(rate: RateLimit | undefined): string {
  if (rate === undefined || rate.perSecond === 0) return "0";
  return rate.burst === 0 ? String(rate.perSecond) : `${rate.perSecond}:${rate.burst}`;
}

function readRate(key: string, text: string): RateInit {
  const [, perSecond, burst = "0"] = /^(\d+(?:\.\d+)?)(?::(\d+))?$/.exec(text) ?? [];
  if (perSecond !== undefined) return { perSecond: Number(perSecond), burst: Number(burst) };
  throw new UsageError(
    `${key}: ${JSON.stringify(text)} is no rate`,
    "calls a second and at once, as 100:200; 0 for no limit",
  );
}

function readCount(key: string, text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= 0xffff_ffff) return value;
  throw new UsageError(`${key}: ${JSON.stringify(text)} is no whole number`);
}

function readFlag(key: string, text: string): boolean {
  if (text === "true" || text === "false") return text === "true";
  throw new UsageError(`${key}: ${JSON.stringify(text)} is neither true nor false`);
}
