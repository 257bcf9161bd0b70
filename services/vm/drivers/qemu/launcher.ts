/**
 * Owns how QEMU is kept apart from the host and tied to this process: its own user, no
 * network, death with its parent. What QEMU emulates is left to `vm-process.ts`.
 */
import { vmUnavailable } from "../driver-errors.ts";
import { runTool } from "../run-tool.ts";

const tryLimitMs = 5_000;

/** Users for QEMU, one per virtual machine: no package and no person has these. */
const firstUid = 62_000;
const uids = 2_000;

/** What stands before `qemu-system-x86_64` on the command line. */
export interface Launcher {
  /** The words before QEMU's own; `kvmGroup` is the group that `/dev/kvm` wants, if any. */
  prefix(kvmGroup?: number): string[];
  /** True if QEMU runs as a user of its own. */
  readonly ownUser: boolean;
  /** True if QEMU's process has no network interface but an unused loopback. */
  readonly ownNetwork: boolean;
}

/**
 * The strictest launcher that works here. As root on Linux, running QEMU as another user is
 * a condition: throws ISOLATION_UNAVAILABLE where `setpriv` is missing.
 */
export async function findLauncher(): Promise<Launcher> {
  if (process.platform !== "linux") return none;
  const root = process.getuid?.() === 0;
  const setpriv = (uid: number, group?: number) => [
    "setpriv",
    "--pdeathsig=KILL",
    ...(root ? ["--no-new-privs", `--reuid=${uid}`, `--regid=${uid}`] : []),
    ...(root ? [group === undefined ? "--clear-groups" : `--groups=${group}`] : []),
    "--",
  ];
  const unshare = ["unshare", "--net", "--"];
  const ownNetwork = root && (await works([...unshare, ...setpriv(firstUid)]));
  if (!ownNetwork && !(await works(setpriv(firstUid)))) {
    if (!root) return none;
    const message = "QEMU must not run as root, and setpriv is not here";
    throw vmUnavailable(message, "install util-linux");
  }
  let next = Math.floor(Math.random() * uids);
  return {
    ownUser: root,
    ownNetwork,
    prefix: (group) => {
      next = (next + 1) % uids;
      return [...(ownNetwork ? unshare : []), ...setpriv(firstUid + next, group)];
    },
  };
}

const none: Launcher = { ownUser: false, ownNetwork: false, prefix: () => [] };

async function works(prefix: string[]): Promise<boolean> {
  const [file = "", ...args] = prefix;
  try {
    await runTool(file, [...args, "true"], { timeoutMs: tryLimitMs });
    return true;
  } catch {
    // Not installed, not allowed, too old: each means that this prefix is not to be had.
    return false;
  }
}
