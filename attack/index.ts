/** `devmesh doctor --attack`: breaks out of this host's sandboxes, or shows that it cannot. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeDriver } from "@devmesh/vm/app";
import { readVmConfig } from "@devmesh/vm/config";
import type { AttemptResult } from "./attempt.ts";
import { attempts } from "./attempts/index.ts";
import { driverTarget } from "./driver-target.ts";
import { type AttackOptions, AttackUsageError, attackHelp, readAttackOptions } from "./options.ts";
import { type AttackReport, describe, isHeld, summaryOf, type Unavailable } from "./report.ts";
import { attackTarget, type TargetReport } from "./suite.ts";
import { World } from "./world.ts";

/** Runs the suite from its arguments; answers the exit status: 0 only if everything held. */
export async function runAttack(argv: readonly string[]): Promise<number> {
  try {
    const options = readAttackOptions(argv);
    if (options === undefined) {
      process.stdout.write(attackHelp);
      return 0;
    }
    if (options.list) {
      for (const { name, kind, what } of attempts) {
        process.stdout.write(`${kind}  ${name.padEnd(26)} ${what}\n`);
      }
      return 0;
    }
    const people = options.json ? process.stderr : process.stdout;
    const report = await attackHost(options, (line) => people.write(`${line}\n`));
    people.write(`\n${describe(report)}`);
    if (options.json) process.stdout.write(`${JSON.stringify(summaryOf(report))}\n`);
    return isHeld(report) ? 0 : 1;
  } catch (error) {
    const isUsage = error instanceof AttackUsageError;
    const exitCode = isUsage ? 2 : 1;
    const message = error instanceof Error ? error.message : String(error);
    const reason = isUsage ? "USAGE" : "INTERNAL";
    const failure = { error: { message, reason, exitCode, remedy: "" } };
    const isJson = argv.includes("--json");
    process.stderr.write(isJson ? `${JSON.stringify(failure)}\n` : `error: ${message}\n`);
    return exitCode;
  }
}

/** Attacks every driver that works. Throws AttackUsageError for a name that nothing has. */
async function attackHost(
  options: AttackOptions,
  tell: (line: string) => void,
): Promise<AttackReport> {
  const chosen = pick("--only", attempts, ({ name }) => name, options.only);
  // Other users must get through: root's sandboxes run as such.
  const folder = mkdtempSync(join(tmpdir(), "devmesh-attacked-"));
  chmodSync(folder, 0o711);
  const world = await World.make();
  try {
    const config = { ...readVmConfig(process.env), stateDir: join(folder, "vm") };
    const names = pick("--driver", config.drivers, (name) => name, options.drivers);
    const targets: TargetReport[] = [];
    const unavailable: Unavailable[] = [];
    for (const name of names) {
      const driver = makeDriver(name, config);
      const { available, engine, isolation, reason, remedy } = await driver.probe();
      if (!available) {
        unavailable.push({ driver: name, isolation, reason, remedy });
        tell(`${name}: not available: ${reason}`);
        continue;
      }
      tell(`${name} (${engine})`);
      const target = driverTarget(driver, engine);
      try {
        targets.push(await attackTarget(target, chosen, world, (result) => tell(lineOf(result))));
      } finally {
        await driver.close?.();
      }
    }
    return { targets, unavailable };
  } finally {
    await world.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function pick<T>(
  option: string,
  all: readonly T[],
  nameOf: (one: T) => string,
  wanted: readonly string[],
): readonly T[] {
  const unknown = wanted.find((name) => !all.some((one) => nameOf(one) === name));
  if (unknown !== undefined) {
    const names = all.map(nameOf).join(", ");
    throw new AttackUsageError(
      `${option}: there is no ${JSON.stringify(unknown)}; there are ${names}`,
    );
  }
  return wanted.length === 0 ? all : all.filter((one) => wanted.includes(nameOf(one)));
}

function lineOf({ name, kind, state, evidence }: AttemptResult): string {
  const shown = { held: "held     ", succeeded: "SUCCEEDED", broken: "unproven " }[state];
  const why = evidence.length === 0 ? "" : `: ${evidence.slice(0, 5).join("; ")}`;
  return `  ${shown} ${kind} ${name}${why}`;
}
