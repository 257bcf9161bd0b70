/** Whether a sandbox is held to what was asked for. */
import { DevmeshError } from "@devmesh/mesh/errors";
import type { SandboxSpec } from "./driver.ts";
import type { Measured, SandboxReceipt } from "./receipt.ts";

/** A work dir may be smaller than its limit by the tables of its file system. */
const leastDiskShare = 0.5;

/** What differs between request and receipt, one sentence each; empty: nothing. */
export function receiptMismatches(spec: SandboxSpec, receipt: SandboxReceipt): string[] {
  const { limits } = spec;
  const mib = 1024 * 1024;
  const wrong: string[] = [];
  const check = (isRight: boolean, what: string, { source, value }: Measured<unknown>) => {
    if (!isRight) wrong.push(`${what}; ${source} says ${JSON.stringify(value)}`);
  };
  const { memoryBytes, memoryAndSwapBytes, cpuMillis, pids, diskBytes } = receipt;
  check(
    memoryBytes.value === limits.memoryMib * mib,
    `memory is not ${limits.memoryMib} MiB`,
    memoryBytes,
  );
  if (memoryAndSwapBytes !== undefined) {
    check(
      memoryAndSwapBytes.value <= limits.memoryMib * mib,
      `memory and swap are more than ${limits.memoryMib} MiB`,
      memoryAndSwapBytes,
    );
  }
  check(
    cpuMillis.value === limits.cpuMillis,
    `CPU is not ${limits.cpuMillis} thousandths`,
    cpuMillis,
  );
  check(pids.value === limits.pids, `pids are not ${limits.pids}`, pids);
  check(
    diskBytes.value <= limits.diskMib * mib &&
      diskBytes.value >= limits.diskMib * mib * leastDiskShare,
    `the disk is not ${limits.diskMib} MiB`,
    diskBytes,
  );
  check(receipt.uid.value !== 0, "the user is root", receipt.uid);
  check(receipt.gid.value !== 0, "the group is root", receipt.gid);
  check(receipt.noNewPrivileges.value, "new privileges can be had", receipt.noNewPrivileges);
  check(receipt.seccomp.value, "no seccomp filter holds", receipt.seccomp);
  const { effective, permitted } = receipt.capabilities.value;
  const isNone = (set: string) => /^0*$/.test(set);
  check(isNone(effective) && isNone(permitted), "there are capabilities", receipt.capabilities);
  check(
    receipt.interfaces.value.every((name) => name === "lo"),
    "there is a network",
    receipt.interfaces,
  );
  check(receipt.readOnlyRoot.value, "the root can be written to", receipt.readOnlyRoot);
  return wrong;
}

/** Throws RECEIPT_MISMATCH with everything that differs. */
export function requireReceipt(spec: SandboxSpec, receipt: SandboxReceipt): void {
  const mismatches = receiptMismatches(spec, receipt);
  if (mismatches.length === 0) return;
  const text = mismatches.join("; ");
  throw new DevmeshError("RECEIPT_MISMATCH", `the sandbox is not what was asked for: ${text}`, {
    metadata: { driver: receipt.driver, mismatches: text },
  });
}
