/** The options of the attack suite. */
import { parseArgs } from "node:util";

/** What a run was asked for. */
export interface AttackOptions {
  /** Names of drivers. Empty: all that are configured. */
  readonly drivers: readonly string[];
  /** Names of attempts. Empty: all. */
  readonly only: readonly string[];
  /** True: the last line on stdout is one JSON object. */
  readonly json: boolean;
  /** True: the attempts are listed, and nothing is tried. */
  readonly list: boolean;
}

/** What `--help` prints. */
export const attackHelp = `devmesh doctor --attack: tries to break out of this host's own sandboxes

  --driver NAME   only this driver, by the name that doctor tells; may be repeated
  --only NAME     only this attempt; may be repeated
  --list          tells what is tried, and tries nothing
  --json          the last line on stdout is one JSON object; all else goes to stderr

The drivers are those that SANDBOX_DRIVERS and the other settings of the sandbox host name. The
exit status is 0 only if every attempt was tried on every driver that works, and none succeeded.
`;

/** An option that cannot be. */
export class AttackUsageError extends Error {
  override readonly name = "AttackUsageError";
}

/** Reads the arguments; undefined if help is wanted. Throws AttackUsageError that names the option. */
export function readAttackOptions(argv: readonly string[]): AttackOptions | undefined {
  const values = parse(argv);
  if (values.help === true) return undefined;
  return {
    drivers: values.driver ?? [],
    only: values.only ?? [],
    json: values.json === true,
    list: values.list === true,
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        driver: { type: "string", multiple: true },
        only: { type: "string", multiple: true },
        json: { type: "boolean" },
        list: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    throw new AttackUsageError(error instanceof Error ? error.message : "unreadable options");
  }
}
