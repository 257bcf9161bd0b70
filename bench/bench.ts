/**
 * What a bench is made of: named cases whose systems run in turn, several
 * rounds each, so that a noisy neighbour hits them all alike. Reports medians.
 */
import { loadavg } from "node:os";

/** One of the things that are compared in a case. */
export interface System {
  readonly name: string;
  /** What its rows say besides, for example the engine that it found. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Runs one round; answers its figures, by name with the unit in it. */
  round(round: number): Promise<Figures>;
  /** Ends what the system started. */
  close(): Promise<void>;
}

/** Figures of one round or, as medians, of one system. */
export type Figures = Readonly<Record<string, number>>;

/** One comparison. */
export interface Case {
  readonly name: string;
  /** Rounds that count, at least 3. */
  readonly rounds: number;
  /** Rounds before them, in which the engine's compiler settles. Default: 2. */
  readonly warmUpRounds?: number;
  /** What every row of the case says besides, for example the length of a queue. */
  readonly labels?: Readonly<Record<string, string | number>>;
  /** The system that the others are compared with, and the figure that is. */
  readonly floor: string;
  readonly figure: string;
  open(): Promise<readonly System[]>;
}

/** A named bench: `node bench/run.ts NAME`. */
export interface Bench {
  readonly name: string;
  /** What it measures, in one line. */
  readonly about: string;
  readonly cases: readonly Case[];
  /** What the rows say of the promises in SPECIFICATION.md. Absent: they are compared by people. */
  verdicts?(rows: readonly Row[]): Verdict[];
}

/** Whether a promise held in a run. */
export interface Verdict {
  /** Its id, for example `P11`. */
  readonly promise: string;
  readonly what: string;
  readonly holds: boolean;
}

/** One line of the result. */
export interface Row extends Readonly<Record<string, string | number>> {
  readonly bench: string;
  readonly case: string;
  readonly system: string;
  /** The system's figure over the floor's, of the same run. */
  readonly ratio: number;
  /** The machine's load average over one minute when the case ended. */
  readonly load: number;
}

/** Runs a case: rounds that warm up, then the counted ones, systems in turn. */
export async function runCase(bench: string, { open, ...spec }: Case): Promise<Row[]> {
  const { warmUpRounds = 2, labels = {} } = spec;
  const systems = await open();
  const taken = new Map<string, Figures[]>(systems.map(({ name }) => [name, []]));
  try {
    for (let round = 0; round < warmUpRounds + spec.rounds; round++) {
      // Each round starts with another system: none has the warmest or the coldest place.
      const turn = round % systems.length;
      for (const system of [...systems.slice(turn), ...systems.slice(0, turn)]) {
        const figures = await system.round(round);
        if (round >= warmUpRounds) taken.get(system.name)?.push(figures);
      }
    }
  } finally {
    for (const system of systems) await system.close();
  }
  const medians = new Map([...taken].map(([name, rounds]) => [name, medianFigures(rounds)]));
  const floor = medians.get(spec.floor)?.[spec.figure] ?? Number.NaN;
  const load = loadNow();
  return [...medians].map(([system, figures]) => ({
    bench,
    case: spec.name,
    system,
    ...labels,
    ...systems.find(({ name }) => name === system)?.labels,
    ...figures,
    ratio: rounded((figures[spec.figure] ?? Number.NaN) / floor),
    load,
  }));
}

/** Above this load average before the run, other work spoils a verdict on two cores. */
export const maxQuietLoad = 1.5;

/** The machine's load average over one minute. */
export function loadNow(): number {
  return Math.round((loadavg()[0] ?? 0) * 100) / 100;
}

function medianFigures(rounds: readonly Figures[]): Figures {
  const names = Object.keys(rounds[0] ?? {});
  return Object.fromEntries(
    names.map((name) => [name, rounded(median(rounds.map((round) => round[name] ?? Number.NaN)))]),
  );
}

/** The middle of the values; of an even number, the mean of the two in the middle. */
function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The value below which the given share of the values lies, interpolated. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

/** Processor time that this process has used so far, in microseconds. */
export function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function rounded(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Math.round(value * 1000) / 1000;
}
