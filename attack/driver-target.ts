/** The platform's own sandboxes as a target. */
import { randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SystemClock } from "@devmesh/mesh/runtime";
import type { Sandbox, SandboxDriver } from "@devmesh/vm/drivers";
import { type Egress, openEgress } from "@devmesh/vm/egress";
import { wholeProgram } from "./prelude.ts";
import { attackLimits, type Room, type Target } from "./target.ts";
import type { WayOut } from "./way-out.ts";

/** A driver whose probe has found it to work. */
export function driverTarget(driver: SandboxDriver, engine: string): Target {
  return {
    name: driver.name,
    isolation: driver.isolation,
    engine,
    open: async (way) => {
      const id = `sbx_attack${randomBytes(8).toString("hex")}`;
      const wanted = { id, jobId: "job_attack", limits: attackLimits, mounts: [], doors: [] };
      if (way === undefined) return roomOf(await driver.create(wanted));
      const { egress, close } = await openWay(way);
      try {
        const { mounts, door, env } = egress;
        const sandbox = await driver.create({ ...wanted, mounts, doors: [door] });
        return roomOf(sandbox, env, close);
      } catch (error) {
        await close();
        throw error;
      }
    },
  };
}

/** The proxy that a job with this policy would get. */
async function openWay(way: WayOut): Promise<{ egress: Egress; close: () => Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), "devmesh-way-"));
  // The certificates in it are mounted for another user.
  chmodSync(folder, 0o711);
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    const egress = await openEgress({
      ...{ host: way.host, policy: way.policy, folder },
      jobId: "job_attack",
      clock: new SystemClock(),
      // What the proxy says of itself proves nothing here: the hosts behind it are watched.
      report: async () => {},
      note: () => {},
    });
    return { egress, close: () => egress.close().finally(remove) };
  } catch (error) {
    remove();
    throw error;
  }
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

function roomOf(
  sandbox: Sandbox,
  own: Readonly<Record<string, string>> = {},
  closeWay: () => Promise<void> = async () => {},
): Room {
  return {
    limits: attackLimits,
    async perl(program, env, timeoutMs) {
      const argv = ["perl", "-e", wholeProgram(program)];
      const process = await sandbox.exec({ argv, env: { ...own, ...env } });
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
    close: () => sandbox.delete().finally(closeWay),
  };
}
