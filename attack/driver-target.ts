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

function roomOf(sandbox: Sandbox): Room {
  return {
    limits: attackLimits,
    async perl(program, env, timeoutMs) {
      const argv = ["perl", "-e", wholeProgram(program)];
      const process = await sandbox.exec({ argv, env });
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        // Gone already: nothing to end.
        process.signal("SIGKILL").catch(() => {});
      }, timeoutMs);
      try {
        const parts: Buffer[] = [];
        for await (const { data } of process.output()) parts.push(Buffer.from(data));
        const { exitCode } = await process.exit;
        return { output: Buffer.concat(parts).toString("latin1"), exitCode: late ? 124 : exitCode };
      } finally {
        clearTimeout(timer);
      }
    },
    put: (tar) => sandbox.put(tar),
    get: () => sandbox.get(),
    close: () => sandbox.delete(),
  };
}
