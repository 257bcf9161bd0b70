/** What a run tells: for people as it goes, and for programs as one object at its end. */
import { engineKinds } from "./engine.ts";
import type { Strikes } from "./killer.ts";
import { leftoverKinds } from "./leftovers.ts";
import type { ChaosOptions } from "./options.ts";
import type { Verdict } from "./verifier.ts";

/** How a run ended. */
export interface ChaosReport {
  readonly options: ChaosOptions;
  readonly strikes: Strikes;
  readonly verdict: Verdict;
  /** What was left on the host, and leases of ended jobs. */
  readonly orphans: readonly string[];
  /** Sandboxes that could not be removed in time. */
  readonly stuck: readonly string[];
  /** How many removals were asked for while jobs ran, and at the end, by the sandbox's state. */
  readonly deletes: Readonly<Record<string, number>>;
  /** The longest of them, in milliseconds. */
  readonly slowestDeleteMs: number;
  /** What jobs asked for; empty: the default alone. */
  readonly isolations: readonly string[];
  /** What the platform itself did wrong: a part that ended, did not stop, did not settle. */
  readonly faults: readonly string[];
  /** Calls and streams that were tried again, by reason. */
  readonly retried: Readonly<Record<string, number>>;
  /** From the first strike to the last. */
  readonly strikingMs: number;
  readonly totalMs: number;
}

/** True if everything holds. */
export function isOk({ verdict, orphans, stuck, faults }: ChaosReport): boolean {
  const wrong = [verdict.problems, orphans, stuck, faults];
  return wrong.every((one) => one.length === 0);
}

/** How each line about an orphan begins. */
const orphanKinds = [...engineKinds, ...leftoverKinds, "lease"];

/** One object for programs. */
export function summaryOf(report: ChaosReport): object {
  const { options, strikes, orphans, faults, verdict } = report;
  const { problems, sandboxes, drivers, ...counted } = verdict;
  return {
    seed: options.seed,
    store: options.store,
    kills: sum(strikes.killed),
    killed: sorted(strikes.killed),
    stalled: sorted(strikes.stalled),
    connectionsCut: strikes.cut,
    ...counted,
    sandboxes: sandboxes.length,
    orphans: orphans.length,
    ...(options.sandboxes && {
      orphansByKind: Object.fromEntries(
        orphanKinds.map((kind) => [kind, orphans.filter((line) => kindOf(line) === kind).length]),
      ),
      isolations: report.isolations,
      deletes: sorted(report.deletes),
      slowestDeleteMs: Math.round(report.slowestDeleteMs),
      sandboxesByDriver: sorted(drivers),
    }),
    stuck: report.stuck.length + verdict.unfinished,
    faults: faults.length,
    problems: problems.length,
    retried: sorted(report.retried),
    strikingMinutes: minutes(report.strikingMs),
    minutes: minutes(report.totalMs),
    ok: isOk(report),
  };
}

/** The same in words, with everything that does not hold. */
export function describe(report: ChaosReport): string {
  const { strikes, verdict, orphans, faults } = report;
  const wrong = [
    ...verdict.problems.map(({ jobId, what }) => `${jobId}: ${what}`),
    ...orphans.map((line) => `left over: ${line}`),
    ...report.stuck.map((line) => `stuck: ${line}`),
    ...faults,
  ];
  const lines = [
    `struck    ${sum(strikes.killed)} kills (${counts(strikes.killed)}), ` +
      `${sum(strikes.stalled)} standstills, ${strikes.cut} connections cut`,
    `jobs      ${verdict.jobs} by ${verdict.acknowledged} acknowledgements, in ${verdict.attempts} attempts: ` +
      `${verdict.succeeded} succeeded, ${verdict.failed} failed, ${verdict.cancelled} cancelled`,
    `lost      ${verdict.lost} jobs, ${verdict.unfinished} unfinished, ${verdict.doubledKeys} keys doubled`,
    `logs      ${verdict.logBytes} bytes compared: ${verdict.logBytesLost} lost, ` +
      `${verdict.logBytesDoubled} doubled, ${verdict.logBytesAltered} altered`,
    `fenced    ${verdict.fencedWrites} late writes refused`,
    `orphans   ${orphans.length}`,
    `stuck     ${report.stuck.length} sandboxes, of removals that were asked for: ${counts(report.deletes)}`,
    `retried   ${counts(report.retried)}`,
    `time      ${minutes(report.totalMs)} minutes, ${minutes(report.strikingMs)} of them under fire`,
    "",
    wrong.length === 0 ? "everything holds" : `${wrong.length} things do not hold:`,
    ...wrong.map((line) => `  ${line}`),
  ];
  return `${lines.join("\n")}\n`;
}

/** The longest that fits: "network namespace" is no "network". */
function kindOf(line: string): string | undefined {
  return orphanKinds
    .filter((kind) => line.startsWith(`${kind} `) || line.startsWith(`${kind}:`))
    .sort((a, b) => b.length - a.length)[0];
}

function sum(by: Readonly<Record<string, number>>): number {
  return Object.values(by).reduce((all, count) => all + count, 0);
}

function sorted(by: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(by).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function counts(by: Readonly<Record<string, number>>): string {
  const items = Object.entries(sorted(by)).map(([name, count]) => `${name} ${count}`);
  return items.length === 0 ? "none" : items.join(", ");
}

function minutes(ms: number): number {
  return Math.round(ms / 600) / 100;
}
