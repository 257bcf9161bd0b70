/** The log's level while the backend runs. */
import type { Logger } from "@devmesh/mesh/log";
import type { HotSettings } from "./settings.ts";

/** Whose level follows, and how it is set. */
export interface LogLevelOptions {
  /** What the environment says: the level that the log was made with. */
  readonly initial: string;
  readonly logger: Logger;
  /** Sets the level. Default: of `logger`. */
  readonly setLogLevel?: ((level: string) => void) | undefined;
}

/** What the log says follows the settings, and the environment where they say nothing. */
export function followLogLevel(
  settings: Pick<HotSettings, "onChange">,
  { initial, logger, setLogLevel }: LogLevelOptions,
): void {
  let level = initial;
  settings.onChange(({ logLevel = initial }) => {
    if (logLevel === level) return;
    level = logLevel;
    if (setLogLevel === undefined) logger.level = level;
    else setLogLevel(level);
  });
}
