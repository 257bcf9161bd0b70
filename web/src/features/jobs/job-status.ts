/** Owns how statuses and isolations look and read: one table each. */
import {
  type Isolation,
  type IsolationName,
  isolationName,
  type JobStatus,
  type JobStatusName,
  jobStatusName,
} from "@devmesh/sdk";
import type { ChipLook } from "../../ui/chip.tsx";

/** Icon, word and colour of each status. */
export const statusLooks: Readonly<Record<JobStatusName, ChipLook>> = {
  queued: { icon: "clock", word: "queued", tone: "neutral" },
  running: { icon: "play", word: "running", tone: "active" },
  succeeded: { icon: "check", word: "succeeded", tone: "good" },
  failed: { icon: "cross", word: "failed", tone: "bad" },
  cancelled: { icon: "stop", word: "cancelled", tone: "warn" },
};

const unknownLook: ChipLook = { icon: "question", word: "unknown", tone: "neutral" };

/** How a status looks. A newer server may send one that is not known here. */
export function statusLook(status: JobStatus): ChipLook {
  const name = jobStatusName(status);
  return name === undefined ? unknownLook : statusLooks[name];
}

/** What each isolation is. */
export const isolationWords: Readonly<Record<IsolationName, string>> = {
  process: "Process: own namespaces on the host’s kernel",
  container: "Container: a hardened container",
  gvisor: "gVisor: a container on a user-space kernel",
  vm: "VM: a virtual machine of its own",
};

/** The word for an isolation. */
export function isolationWord(isolation: Isolation): string {
  return isolationName(isolation) ?? "default";
}
