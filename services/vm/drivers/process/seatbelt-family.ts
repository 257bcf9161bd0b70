/**
 * The processes of one Seatbelt sandbox, found by `ps`: macOS has neither pid
 * namespaces nor control groups. Kinship, process groups and a variable that
 * children inherit tell whose they are; one that sheds all three is not found.
 */
import { setTimeout as pause } from "node:timers/promises";
import { signalProcess } from "../process-tree.ts";
import { runTool } from "../run-tool.ts";

/** The variable that marks a sandbox's programs. */
export const familyVariable = "DEVMESH_SANDBOX";

const goneWithinMs = 8_000;

/** One process. */
interface Member {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly memoryBytes: number;
  readonly cpuMs: number;
  readonly isMarked: boolean;
}

/** What a family uses together. */
export interface FamilyUse {
  readonly pids: number;
  readonly memoryBytes: number;
  readonly cpuMs: number;
}

/** The processes of one sandbox. */
export class SeatbeltFamily {
  readonly #mark: string;
  /** Programs that were started, each the head of a process group. */
  readonly #heads = new Set<number>();
  #stopped: number[] | undefined;

  constructor(id: string) {
    this.#mark = `${familyVariable}=${id}`;
  }

  /** Takes a program in. */
  add(head: number): void {
    this.#heads.add(head);
  }

  /** Its processes now. */
  async pids(): Promise<number[]> {
    return (await this.#members()).map(({ pid }) => pid);
  }

  /** What it uses now. */
  async use(): Promise<FamilyUse> {
    const members = await this.#members();
    const sum = (of: (member: Member) => number) =>
      members.reduce((total, member) => total + of(member), 0);
    return {
      pids: members.length,
      memoryBytes: sum(({ memoryBytes }) => memoryBytes),
      cpuMs: sum(({ cpuMs }) => cpuMs),
    };
  }

  /** The processes of one program and what descends from it. */
  async programOf(head: number): Promise<number[]> {
    const members = await this.#members();
    const found = new Set(
      members.filter(({ pid, group }) => pid === head || group === head).map(pidOf),
    );
    grow(found, members);
    return [...found];
  }

  /** Ends all of it; throws if something does not end. */
  async end(): Promise<void> {
    const deadline = Date.now() + goneWithinMs;
    for (;;) {
      const pids = await this.pids();
      if (pids.length === 0) return;
      if (Date.now() > deadline) throw new Error(`processes do not end: ${pids.join(", ")}`);
      // What is stopped forks no more, and dies by SIGKILL all the same.
      for (const name of ["SIGSTOP", "SIGKILL"] as const) {
        for (const pid of pids) signalProcess(pid, name);
      }
      await pause(20);
    }
  }

  /** Stops all of it where it stands. Idempotent. */
  async freeze(): Promise<void> {
    if (this.#stopped !== undefined) return;
    const stopped = new Set<number>();
    for (;;) {
      const fresh = (await this.pids()).filter((pid) => !stopped.has(pid));
      if (fresh.length === 0) break;
      for (const pid of fresh) {
        stopped.add(pid);
        signalProcess(pid, "SIGSTOP");
      }
    }
    this.#stopped = [...stopped];
  }

  /** Lets it go on. Idempotent. */
  resume(): void {
    for (const pid of this.#stopped?.toReversed() ?? []) signalProcess(pid, "SIGCONT");
    this.#stopped = undefined;
  }

  async #members(): Promise<Member[]> {
    const all = await table(this.#mark);
    const found = new Set(
      all
        .filter(
          ({ pid, group, isMarked }) => isMarked || this.#heads.has(pid) || this.#heads.has(group),
        )
        .map(pidOf),
    );
    grow(found, all);
    return all.filter(({ pid }) => found.has(pid));
  }
}

const pidOf = ({ pid }: Member) => pid;

/** Adds the descendants of what is found. */
function grow(found: Set<number>, all: readonly Member[]): void {
  for (let before = -1; before !== found.size; ) {
    before = found.size;
    for (const { pid, parent } of all) if (found.has(parent)) found.add(pid);
  }
}

async function table(mark: string): Promise<Member[]> {
  const columns = "pid=,ppid=,pgid=,rss=,time=,state=,command=";
  // With the environment behind the command: a flag of its own on each system.
  const flags = process.platform === "darwin" ? ["-AwwE", "-o", columns] : ["axeww", "-o", columns];
  return (await runTool("ps", flags))
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([pid, , , , , state]) => pid !== "" && pid !== undefined && !state?.startsWith("Z"))
    .map(([pid, parent, group, rss, time = "", , ...command]) => ({
      ...{ pid: Number(pid), parent: Number(parent), group: Number(group) },
      ...{ memoryBytes: Number(rss) * 1024, cpuMs: milliseconds(time) },
      isMarked: command.includes(mark),
    }));
}

/** `[days-][hours:]minutes:seconds[.hundredths]`. */
export function milliseconds(time: string): number {
  const [clock = "", days = "0"] = time.split("-").toReversed();
  const seconds = clock.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  return Math.round((Number(days) * 86_400 + seconds) * 1000);
}
