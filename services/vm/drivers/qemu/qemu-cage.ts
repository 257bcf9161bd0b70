/**
 * Owns a running guest as a sandbox's cage: what it is held to, what it uses, standing still
 * and going on. Making the guest is left to `restore.ts`.
 */
import { rm } from "node:fs/promises";
import type { SandboxStats } from "../driver.ts";
import { sandboxFailed } from "../driver-errors.ts";
import {
  type GuestCaps,
  type GuestFacts,
  guestReceipt,
  readGuestStats,
} from "../guest/guest-facts.ts";
import { setClock } from "../guest/guest-talk.ts";
import { type ProcessReceipt, readProcessReceipt } from "../kernel-receipt.ts";
import type { Cage } from "../resident/resident-sandbox.ts";
import { within } from "../within.ts";
import type { Guest, GuestSetting } from "./boot.ts";

/** The monitor and the resident answer at once, or hang. */
const monitorLimitMs = 8_000;
/** The same kernel goes on after the restore, with the same mounts, interfaces and filters. */
const factsOrigin = "guest, before its snapshot";

/** What a cage is made of. */
export interface QemuCageOptions {
  readonly setting: GuestSetting;
  readonly guest: Guest;
  readonly facts: GuestFacts;
  /** What its kernel holds it to. */
  readonly caps: GuestCaps;
  /** The sandbox's on the host, and its guest's where that has its own; removed with it. */
  readonly folders: readonly string[];
}

/** The cage of a guest that takes programs. Throws SANDBOX_FAILED when QEMU is not confined. */
export async function qemuCage(options: QemuCageOptions): Promise<Cage> {
  const { setting, guest, facts, caps, folders } = options;
  const { channel, vm, group } = guest;
  const engine = `${engineOf(setting)}; ${await confinementOf(vm.pid, setting)}`;
  let still: SandboxStats | undefined;
  const stats = async () => {
    const [used, host] = await Promise.all([readGuestStats(channel), group?.usage()]);
    // A guest does not see what its QEMU is held back by.
    return { ...used, throttledMs: used.throttledMs + (host?.throttledMs ?? 0) };
  };
  return {
    driver: "qemu",
    channel,
    receipt: guestReceipt({ driver: "qemu", engine, facts, factsFrom: factsOrigin, caps }),
    stats: async () => still ?? (await stats()),
    async freeze() {
      // A guest that stands still cannot tell: this is what it used up to then.
      still ??= await within(monitorLimitMs, stats());
      await within(monitorLimitMs, vm.halt());
    },
    async resume() {
      await within(monitorLimitMs, vm.goOn());
      // Its clock stood still with it.
      if (still) await setClock(channel);
      still = undefined;
    },
    async remove() {
      await guest.remove();
      for (const folder of folders) await rm(folder, { recursive: true, force: true });
    },
  };
}

/** For example `QEMU 7.2.22 (TCG)`. */
export function engineOf({ version, accelerator }: GuestSetting): string {
  return `QEMU ${version} (${accelerator.toUpperCase()})`;
}

/** What the host's kernel holds QEMU itself to. */
async function confinementOf(pid: number, { launcher }: GuestSetting): Promise<string> {
  if (process.platform !== "linux") return "not confined by the host";
  const held = await readProcessReceipt(pid).catch((error: unknown) => {
    throw sandboxFailed("qemu", "what the host holds QEMU to cannot be read", error);
  });
  const missing = missingOf(held, launcher.ownUser, launcher.ownNetwork);
  if (missing.length > 0) throw sandboxFailed("qemu", `QEMU runs with ${missing.join(" and ")}`);
  const { uid, seccomp, interfaces, noNewPrivileges } = held;
  return [
    `on the host user ${uid.value}`,
    ...(seccomp.value ? ["seccomp"] : []),
    ...(noNewPrivileges.value ? ["no new privileges"] : []),
    `network ${interfaces.value.join(" ")}`,
  ].join(", ");
}

function missingOf(held: ProcessReceipt, ownUser: boolean, ownNetwork: boolean): string[] {
  const { uid, seccomp, capabilities, interfaces } = held;
  return [
    ...(ownUser && uid.value === 0 ? ["root's rights"] : []),
    ...(ownUser && !/^0*$/.test(capabilities.value.effective) ? ["capabilities"] : []),
    ...(seccomp.value ? [] : ["no seccomp filter"]),
    ...(ownNetwork && interfaces.value.some((name) => name !== "lo") ? ["a network"] : []),
  ];
}
