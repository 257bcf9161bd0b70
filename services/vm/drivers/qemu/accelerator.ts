/**
 * Owns the choice between the host's processor (KVM) and software: made by booting a guest,
 * since a device that is there may still hang every guest. The answer is kept for as long
 * as the host runs.
 */
import { constants } from "node:fs";
import { access, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Accelerator } from "./vm-process.ts";

const kvmDevice = "/dev/kvm";
const verdictFile = "kvm.json";

/** What was found out about KVM. */
export interface KvmVerdict {
  readonly usable: boolean;
  /** Why not. Empty if it is. */
  readonly reason: string;
  /** What the verdict holds for: this boot of the host, this QEMU, this guest. */
  readonly validFor: string;
}

/** What the choice is made with. */
export interface AcceleratorOptions {
  readonly stateDir: string;
  /** `auto` tries KVM and falls back to `tcg`. */
  readonly wanted: Accelerator | "auto";
  /** True if QEMU runs as a user that is not ours, so that our own access says nothing. */
  readonly ownUser: boolean;
  /** Changes with QEMU and with the guest. */
  readonly version: string;
  /** Boots a guest under KVM; throws when it does not answer in time. */
  readonly tryKvm: (group: number | undefined) => Promise<void>;
}

/** The accelerator that guests are started with. */
export interface AcceleratorChoice {
  readonly accelerator: Accelerator;
  /** The group by which QEMU's user opens `/dev/kvm`. */
  readonly kvmGroup: number | undefined;
}

/** Makes the choice. Does not throw for `auto`. */
export async function chooseAccelerator(options: AcceleratorOptions): Promise<AcceleratorChoice> {
  const software: AcceleratorChoice = { accelerator: "tcg", kvmGroup: undefined };
  if (options.wanted === "tcg") return software;
  const way = await accessToKvm(options.ownUser);
  const hardware: AcceleratorChoice = { accelerator: "kvm", kvmGroup: way?.group };
  if (options.wanted === "kvm") return hardware;
  if (!way) return software;
  const verdict = await verdictOf(options, way.group);
  return verdict.usable ? hardware : software;
}

/** How QEMU's user opens the device; `undefined` when it cannot. */
async function accessToKvm(ownUser: boolean): Promise<{ group: number | undefined } | undefined> {
  try {
    await access(kvmDevice, constants.R_OK | constants.W_OK);
    if (!ownUser) return { group: undefined };
    const { mode, gid } = await stat(kvmDevice);
    if ((mode & 0o006) === 0o006) return { group: undefined };
    return (mode & 0o060) === 0o060 && gid !== 0 ? { group: gid } : undefined;
  } catch {
    // There is none, or it is not for us: both mean software.
    return undefined;
  }
}

async function verdictOf(options: AcceleratorOptions, group: number | undefined) {
  const path = join(options.stateDir, verdictFile);
  const bootId = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  const validFor = `${bootId.trim()} ${options.version}`;
  const known = await readVerdict(path);
  if (known?.validFor === validFor) return known;
  const verdict = await tryOut(options, group, validFor);
  await writeFile(`${path}.${process.pid}`, JSON.stringify(verdict));
  await rename(`${path}.${process.pid}`, path);
  return verdict;
}

async function tryOut(options: AcceleratorOptions, group: number | undefined, validFor: string) {
  try {
    await options.tryKvm(group);
    return { usable: true, reason: "", validFor };
  } catch (error: unknown) {
    const reason = error instanceof Error ? error.message : String(error);
    return { usable: false, reason, validFor };
  }
}

async function readVerdict(path: string): Promise<KvmVerdict | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch {
    // None yet, or half of one: it is found out again.
    return undefined;
  }
}
