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

/** What is asked of each kind of sandbox, and what is to be known of it. */
function traitsOf({ isolation }: SandboxDriver) {
  switch (isolation) {
    case "gvisor":
      // Its kernel's own threads are within the cap, so it wants more of them.
      return { limits: { ...attackLimits, pids: 256 }, isSimulated: true, patience: 2 };
    case "vm":
      // Software emulation on a busy host.
      return { limits: attackLimits, patience: 5 };
    default:
      return { limits: attackLimits };
  }
}

/** A driver whose probe has found it to work. */
export function driverTarget(driver: SandboxDriver, engine: string): Target {
  return {
    name: driver.name,
    isolation: driver.isolation,
    engine,
    open: async (way) => {
      const id = `sbx_attack${randomBytes(8).toString("hex")}`;
      const traits = traitsOf(driver);
      const { limits } = traits;
      const wanted = { id, jobId: "job_attack", limits, mounts: [], doors: [] };
      if (way === undefined) return { ...roomOf(await driver.create(wanted)), ...traits };
      const { egress, close } = await openWay(way);
      try {
        const { mounts, door, env } = egress;
        const sandbox = await driver.create({ ...wanted, mounts, doors: [door] });
        return { ...roomOf(sandbox, env, close), ...traits };
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

/** The longest that a sandbox may take to be gone. */
const deleteLimitMs = 20_000;

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
): Omit<Room, "limits"> {
  return {
    async perl(program, env, timeoutMs) {
      const argv = ["perl", "-e", wholeProgram(program)];
      const process = await sandbox.exec({ argv, env: { ...own, ...env } });
      const parts: Buffer[] = [];
      const ended = (async () => {
        try {
          for await (const { data } of process.output()) parts.push(Buffer.from(data));
          return (await process.exit).exitCode;
        } catch (error) {
          // It took its sandbox with it: what it had said until then is judged.
          if (parts.length > 0) return 125;
          throw error;
        }
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
      // As the runner does with a program that SIGKILL does not end.
      const gone = sandbox.delete().then(() => true);
      gone.catch(() => {});
      if ((await within(deleteLimitMs, gone)) === true) return { output: output(), exitCode: 125 };
      const hung = `GOT ${env.NONCE} it cannot be ended: it outlives SIGKILL and its sandbox\n`;
      return { output: `${output()}\n${hung}`, exitCode: 124 };
    },
    put: (tar) => sandbox.put(tar),
    get: () => sandbox.get(),
    close: () => sandbox.delete().finally(closeWay),
  };
}
