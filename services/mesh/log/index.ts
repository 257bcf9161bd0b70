export { createLogger, type Logger, type LoggerOptions, redact, silentLogger } from "./logger.ts";
