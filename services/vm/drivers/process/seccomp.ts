/**
 * The system calls that a sandboxed program never needs, as a seccomp filter
 * for bubblewrap. The list follows what container engines refuse.
 */
import { endianness } from "node:os";

const eperm = 1;
const enosys = 38;

interface Architecture {
  /** AUDIT_ARCH of linux/audit.h. */
  readonly audit: number;
  readonly clone: number;
  readonly clone3: number;
  readonly denied: readonly number[];
}

/** The same number everywhere: open_tree … fspick, mount_setattr. */
const newMountCalls = [428, 429, 430, 431, 432, 433, 442];
/** io_uring_setup, io_uring_enter, io_uring_register. */
const ioUringCalls = [425, 426, 427];

const architectures: Readonly<Record<string, Architecture>> = {
  x64: {
    audit: 0xc000003e,
    clone: 56,
    clone3: 435,
    denied: [
      // adjtimex, pivot_root, vhangup, chroot, acct, settimeofday, mount, umount2, swapon, swapoff
      159, 155, 153, 161, 163, 164, 165, 166, 167, 168,
      // reboot, sethostname, setdomainname, iopl, ioperm, init_module, delete_module, quotactl
      169, 170, 171, 172, 173, 175, 176, 179,
      // nfsservctl, lookup_dcookie, clock_settime, kexec_load, add_key, request_key, keyctl
      180, 212, 227, 246, 248, 249, 250,
      // unshare, perf_event_open, name_to_handle_at, open_by_handle_at, clock_adjtime, setns
      272, 298, 303, 304, 305, 308,
      // finit_module, kexec_file_load, bpf, userfaultfd, syslog
      313, 320, 321, 323, 103,
    ],
  },
  arm64: {
    audit: 0xc00000b7,
    clone: 220,
    clone3: 435,
    denied: [
      171, 41, 58, 51, 89, 170, 40, 39, 224, 225, 142, 161, 162, 105, 106, 60, 42, 18, 112, 104,
      217, 218, 219, 97, 241, 264, 265, 266, 268, 273, 294, 280, 282, 116,
    ],
  },
};

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const namespaceFlags = 0x7e020000;

const load = 0x20;
const jumpEqual = 0x15;
const jumpAtLeast = 0x35;
const jumpSet = 0x45;
const answer = 0x06;
const allow = 0x7fff0000;
const refuse = (errno: number) => 0x00050000 | errno;

/**
 * The filter as `bwrap --seccomp` reads it. Undefined on processors that it is
 * not written for.
 */
export function seccompFilter(arch: string = process.arch): Buffer | undefined {
  const own = architectures[arch];
  if (own === undefined || endianness() !== "LE") return undefined;
  const code: [number, number, number, number][] = [];
  const step = (op: number, k: number, jt = 0, jf = 0) => code.push([op, jt, jf, k]);
  const refuseCall = (nr: number, errno: number) => {
    step(jumpEqual, nr, 0, 1);
    step(answer, refuse(errno));
  };
  // Another architecture's numbers mean other calls: none of them is let through.
  step(load, 4);
  step(jumpEqual, own.audit, 1, 0);
  step(answer, refuse(enosys));
  step(load, 0);
  if (arch === "x64") {
    step(jumpAtLeast, 0x40000000, 0, 1);
    step(answer, refuse(enosys));
  }
  for (const nr of [...own.denied, ...newMountCalls]) refuseCall(nr, eperm);
  // Callers have another way for these, and take it where the call does not exist.
  for (const nr of [own.clone3, ...ioUringCalls]) refuseCall(nr, enosys);
  // clone is for threads and processes, not for namespaces.
  step(jumpEqual, own.clone, 0, 3);
  step(load, 16);
  step(jumpSet, namespaceFlags, 0, 1);
  step(answer, refuse(eperm));
  step(answer, allow);
  const filter = Buffer.alloc(code.length * 8);
  code.forEach(([op, jt, jf, k], at) => {
    filter.writeUInt16LE(op, at * 8);
    filter.writeUInt8(jt, at * 8 + 2);
    filter.writeUInt8(jf, at * 8 + 3);
    filter.writeUInt32LE(k, at * 8 + 4);
  });
  return filter;
}
