/** What a run of the attack suite tells: for people, and for programs as one object. */
import type { TargetReport } from "./suite.ts";

/** A driver that could not be attacked. */
export interface Unavailable {
  readonly driver: string;
  readonly isolation: string;
  readonly reason: string;
  readonly remedy: string;
}

/** How a run ended. */
export interface AttackReport {
  readonly targets: readonly TargetReport[];
  readonly unavailable: readonly Unavailable[];
}

/** True if something was tried, all of it came to its end, and none succeeded. */
export function isHeld(report: AttackReport): boolean {
  const { tried, succeeded, broken } = summaryOf(report);
  return tried > 0 && succeeded === 0 && broken === 0;
}

/** One object for programs. */
export function summaryOf({ targets, unavailable }: AttackReport) {
  const drivers = targets.map((target) => {
    const named = (state: string) =>
      target.results.filter((result) => result.state === state).map(({ name }) => name);
    const kinds = (kind: string) => target.results.filter((result) => result.kind === kind).length;
    const { name: driver, isolation, engine } = target;
    const [succeeded, broken] = [named("succeeded"), named("broken")];
    return {
      ...{ driver, isolation, engine },
      tried: target.results.length - broken.length,
      succeeded: succeeded.length,
      broken: broken.length,
      escape: kinds("escape"),
      egress: kinds("egress"),
      breaches: succeeded,
      unproven: broken,
    };
  });
  const sum = (key: "tried" | "succeeded" | "broken") =>
    drivers.reduce((all, driver) => all + driver[key], 0);
  const [tried, succeeded, broken] = [sum("tried"), sum("succeeded"), sum("broken")];
  return {
    tried,
    succeeded,
    broken,
    drivers,
    unavailable,
    ok: tried > 0 && succeeded === 0 && broken === 0,
  };
}

/** The end of a run in words. */
export function describe(report: AttackReport): string {
  const { drivers, tried, succeeded, broken } = summaryOf(report);
  const rows = drivers.map(
    (row) =>
      `${row.driver.padEnd(10)} ${row.isolation.padEnd(10)} ${row.tried} tried, ${row.succeeded} succeeded, ${row.broken} unproven (${row.engine})`,
  );
  const missing = report.unavailable.map(
    ({ driver, isolation, reason, remedy }) =>
      `${driver.padEnd(10)} ${isolation.padEnd(10)} not available: ${reason}; ${remedy}`,
  );
  const end =
    tried === 0
      ? "nothing was tried: no driver works on this host"
      : `${tried} attempts, ${succeeded} succeeded, ${broken} prove nothing`;
  return [...rows, ...missing, "", end, ""].join("\n");
}
