/**
 * JSON logs with fixed keys: `ts`, `level`, `service`, `msg`, and where known
 * `requestId`, `jobId`, `actor`, `provider`, `model`, `tokens`, `latencyMs`,
 * `outcome`. No secret stands in them: see `redact.ts`.
 */
import { type DestinationStream, type Logger as PinoLogger, pino, stdTimeFunctions } from "pino";
import { redactFields, redactLine } from "./redact.ts";

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

/** Makes a service's logger. */
export function createLogger({ service, level = "info", destination }: LoggerOptions): Logger {
  return pino(
    {
      level,
      base: { service },
      timestamp: () => stdTimeFunctions.isoTime().replace('"time"', '"ts"'),
      formatters: {
        level: (label) => ({ level: label }),
        log: (facts) => redactFields(facts, pino.stdSerializers.err) as Record<string, unknown>,
      },
      hooks: { streamWrite: redactLine },
    },
    destination ?? pino.destination({ fd: 2, sync: true }),
  );
}

/** A logger that says nothing: for unit tests. */
export function silentLogger(): Logger {
  return pino({ level: "silent" }, { write: () => {} });
}
