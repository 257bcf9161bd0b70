/** The platform's own sandboxes as a target. */
import { randomBytes } from "node:crypto";
import type { Sandbox, SandboxDriver } from "@devmesh/vm/drivers";
import { wholeProgram } from "./prelude.ts";
import { attackLimits, type Room, type Target } from "./target.ts";

/** A driver whose probe has found it to work. */
export function driverTarget(driver: SandboxDriver, engine: string): Target {
  return {
    name: driver.name,
    isolation: driver.isolation,
    engine,
    open: async () => {
      const id = `sbx_attack${randomBytes(8).toString("hex")}`;
      const wanted = { id, jobId: "job_attack", limits: attackLimits, mounts: [], doors: [] };
      return roomOf(await driver.create(wanted));
    },
  };
}

/** The longest that a killed program may take to be gone. */
const killLimitMs = 5_000;

/** The answer, or undefined when it takes longer. */
async function within<T>(limitMs: number, answer: Promise<T>): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), limitMs);
  try {
    return await Promise.race([answer, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function roomOf(sandbox: Sandbox): Room {
  return {
    limits: attackLimits,
    async perl(program, env, timeoutMs) {
      const argv = ["perl", "-e", wholeProgram(program)];
      const process = await sandbox.exec({ argv, env });
      const parts: Buffer[] = [];
      const ended = (async () => {
        for await (const { data } of process.output()) parts.push(Buffer.from(data));
        return (await process.exit).exitCode;
      })();
      const output = () => Buffer.concat(parts).toString("latin1");
      const first = await within(timeoutMs, ended);
      if (first !== undefined) return { output: output(), exitCode: first };
      // Gone already: nothing to end.
      await within(
        killLimitMs,
        process.signal("SIGKILL").catch(() => {}),
      );
      if ((await within(killLimitMs, ended)) !== undefined) {
        return { output: output(), exitCode: 124 };
      }
      const hung = `GOT ${env.NONCE} it cannot be ended: SIGKILL left its sandbox hanging\n`;
      return { output: `${output()}\n${hung}`, exitCode: 124 };
    },
    put: (tar) => sandbox.put(tar),
    get: () => sandbox.get(),
    close: () => sandbox.delete(),
  };
}
