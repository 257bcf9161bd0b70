/** The options of `devmesh chaos`. */
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";

/** Kinds of sandboxes that a run can have, weakest first. */
const chaosIsolations = ["process", "container", "vm"] as const;

/** One of them. */
export type ChaosIsolation = (typeof chaosIsolations)[number];

/** What a run was asked for. */
export interface ChaosOptions {
  readonly seed: number;
  readonly store: "sqlite" | "postgres";
  /** Ends the run: so many SIGKILLs. Infinity: `minutes` alone ends it. */
  readonly kills: number;
  /** Ends the run: so much time under load. Infinity: `kills` alone ends it. */
  readonly minutes: number;
  /** True: jobs ask for every kind of sandbox that the host has, and those are struck too. */
  readonly sandboxes: boolean;
  /** With `sandboxes`: the kinds that jobs may ask for, if the host has them. */
  readonly isolations: readonly ChaosIsolation[];
  /** True: the last line on stdout is one JSON object. */
  readonly json: boolean;
  /** True: the run's folder stays. One with problems stays in any case. */
  readonly keep: boolean;
}

/** What `devmesh chaos --help` prints. */
export const chaosHelp = `devmesh chaos: kills parts of a throw-away platform under load and verifies its history

  --seed N           decides what is killed when, and the load (default: a random one)
  --kills K          ends after K kills (default 100, or no bound with --minutes)
  --minutes M        ends after M minutes under load
  --store sqlite     one embedded platform (default)
  --store postgres   three backends and two runners over one Postgres
  --sandboxes        every kind of sandbox, and strikes on what those are made of
  --isolations LIST  with --sandboxes: of process,container,vm (default: all of them)
  --json             the last line on stdout is one JSON object; all else goes to stderr
  --keep             leaves the run's folder with its logs and history

It never touches a platform that runs. The exit status is 0 only if everything holds.
`;

/** An option that cannot be. */
export class ChaosUsageError extends Error {
  override readonly name = "ChaosUsageError";
}

/** Reads the arguments; undefined if help is wanted. Throws ChaosUsageError that names the option. */
export function readChaosOptions(argv: readonly string[]): ChaosOptions | undefined {
  const values = parse(argv);
  if (values.help === true) return undefined;
  const store = values.store ?? "sqlite";
  if (store !== "sqlite" && store !== "postgres") {
    throw new ChaosUsageError("--store: wants sqlite or postgres");
  }
  const minutes = numberOf("minutes", values.minutes) ?? Number.POSITIVE_INFINITY;
  const most = Number.isFinite(minutes) ? Number.POSITIVE_INFINITY : 100;
  return {
    seed: wholeOf("seed", values.seed, 0) ?? randomInt(2 ** 31),
    store,
    kills: wholeOf("kills", values.kills, 1) ?? most,
    minutes,
    sandboxes: sandboxesOf(values.sandboxes === true, store),
    isolations: isolationsOf(values.isolations, values.sandboxes === true),
    json: values.json === true,
    keep: values.keep === true,
  };
}

function sandboxesOf(wanted: boolean, store: string): boolean {
  if (!wanted || store === "sqlite") return wanted;
  throw new ChaosUsageError("--sandboxes: only with --store sqlite");
}

/** Sandboxes of processes are always there: most jobs ask for nothing else. */
function isolationsOf(list: string | undefined, sandboxes: boolean): ChaosIsolation[] {
  if (list === undefined) return [...chaosIsolations];
  const names = list.split(",");
  const unknown = names.find((name) => !chaosIsolations.some((known) => known === name));
  if (unknown !== undefined || !names.includes("process") || !sandboxes) {
    const what = "process, and of container and vm what is wanted, with --sandboxes";
    throw new ChaosUsageError(`--isolations: wants ${what}`);
  }
  return chaosIsolations.filter((name) => names.includes(name));
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        seed: { type: "string" },
        kills: { type: "string" },
        minutes: { type: "string" },
        store: { type: "string" },
        sandboxes: { type: "boolean" },
        isolations: { type: "string" },
        json: { type: "boolean" },
        keep: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    throw new ChaosUsageError(error instanceof Error ? error.message : "unreadable options");
  }
}

function numberOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new ChaosUsageError(`--${name}: wants a number above 0`);
}

function wholeOf(name: string, text: string | undefined, least: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text) && Number(text) >= least) return Number(text);
  throw new ChaosUsageError(`--${name}: wants a whole number from ${least} to 999999999`);
}
