/** The refusal of a backup that is damaged, or is none. */
import { DevmeshError } from "../errors/index.ts";

/** `message` says what is wrong with the file. */
export function backupInvalid(message: string, cause?: unknown): DevmeshError {
  return new DevmeshError("INVALID_FIELD", `the backup cannot be used: ${message}`, {
    metadata: { field: "backup" },
    cause,
  });
}
