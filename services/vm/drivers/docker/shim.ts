/**
 * The processes of this host that stand for one container: the engine's shim and a runtime's
 * own. For containers that an engine cannot end; all others are the engine's business.
 */
import { readdir } from "node:fs/promises";
import { commandLine, signalProcess } from "../process-tree.ts";

/** A container's full id, which no other command line has by chance. */
const fullId = /^[0-9a-f]{64}$/;
const programs = /(^|\/)(containerd-shim[^/]*|runc|runsc[^/]*)$/;

/** Kills what stands for the container on this host; does nothing where that is not ours to do. */
export async function endProcessesOf(containerId: string): Promise<void> {
  if (!fullId.test(containerId)) return;
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number)) {
    const words = (await commandLine(pid)).split("\0");
    if (!programs.test(words[0] ?? "") || !words.some((word) => word.includes(containerId))) {
      continue;
    }
    try {
      signalProcess(pid, "SIGKILL");
    } catch {
      // Another user's process: the engine's own user has to end it.
    }
  }
}
