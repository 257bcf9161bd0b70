/**
 * JSON logs with fixed keys: `ts`, `level`, `service`, `msg`, and where known
 * `requestId`, `jobId`, `actor`, `provider`, `model`, `tokens`, `latencyMs`,
 * `outcome`. Owns the redaction of secrets.
 */
import { type DestinationStream, type Logger as PinoLogger, pino, stdTimeFunctions } from "pino";

/** The logger that every constructor takes. */
export type Logger = PinoLogger;

/** What a logger is made from. */
export interface LoggerOptions {
  readonly service: string;
  /** `trace`, `debug`, `info`, `warn`, `error`, `silent`. Default: `info`. */
  readonly level?: string;
  /** Where lines go. Default: standard error, so that standard output stays data. */
  readonly destination?: DestinationStream;
}

/** What a secret of devmesh or of a provider looks like in a text. */
const secretPattern =
  /\b(dm_[A-Za-z0-9_-]{16,}|sk-[A-Za-z0-9_-]{8,}|Bearer\s+[A-Za-z0-9._~+/=-]{8,})/g;

const secretKeys = ["authorization", "cookie", "secret", "token", "jobToken", "apiKey", "password"];

/** Replaces what looks like a secret. */
export function redact(text: string): string {
  return text.replace(secretPattern, "[redacted]");
}

/** Makes a service's logger. */
export function createLogger({ service, level = "info", destination }: LoggerOptions): Logger {
  return pino(
    {
      level,
      base: { service },
      timestamp: () => stdTimeFunctions.isoTime().replace('"time"', '"ts"'),
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
        censor: "[redacted]",
      },
      hooks: { streamWrite: redact },
    },
    destination ?? pino.destination({ fd: 2, sync: true }),
  );
}

/** A logger that says nothing: for unit tests. */
export function silentLogger(): Logger {
  return pino({ level: "silent" });
}
