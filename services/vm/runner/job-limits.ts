/** The bounds of one job: what its spec says, and the defaults where it says nothing. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Isolation as ProtoIsolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import type { JobSpec } from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { Isolation, SandboxLimits } from "../drivers/driver.ts";

/** Defaults as the contract names them. */
const defaults = { memoryMib: 1024, cpuMillis: 1000, pids: 512, diskMib: 2048 };
const defaultRunTimeoutMs = 30 * 60 * 1000;

/** What the sandbox may use. */
export function sandboxLimits({ limits }: JobSpec): SandboxLimits {
  return {
    memoryMib: limits?.memoryMib || defaults.memoryMib,
    cpuMillis: limits?.cpuMillis || defaults.cpuMillis,
    pids: limits?.pids || defaults.pids,
    diskMib: limits?.diskMib || defaults.diskMib,
  };
}

/** How long the work may take, in milliseconds. */
export function runTimeoutMs({ limits }: JobSpec): number {
  const wanted = limits?.runTimeout;
  const ms = wanted === undefined ? 0 : durationMs(wanted);
  return ms === 0 ? defaultRunTimeoutMs : ms;
}

/** The longest time without a byte of output, in milliseconds. 0: no limit. */
export function silenceTimeoutMs({ limits }: JobSpec): number {
  const wanted = limits?.silenceTimeout;
  return wanted === undefined ? 0 : durationMs(wanted);
}

/** The contract's isolation as the drivers name it. */
export function isolationOf(isolation: ProtoIsolation): Isolation {
  switch (isolation) {
    case ProtoIsolation.UNSPECIFIED:
    case ProtoIsolation.PROCESS:
      return "process";
    case ProtoIsolation.CONTAINER:
      return "container";
    case ProtoIsolation.GVISOR:
      return "gvisor";
    case ProtoIsolation.VM:
      return "vm";
  }
}

/** The drivers' isolation as the contract names it. */
export function toProtoIsolation(isolation: Isolation): ProtoIsolation {
  const names = {
    process: ProtoIsolation.PROCESS,
    container: ProtoIsolation.CONTAINER,
    gvisor: ProtoIsolation.GVISOR,
    vm: ProtoIsolation.VM,
  };
  return names[isolation];
}
