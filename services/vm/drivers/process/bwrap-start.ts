/**
 * Starts one bubblewrap whose only program is a resident, and follows it to its
 * end. What the resident is asked for is left to its channel.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import type { Duplex, Readable } from "node:stream";
import { sandboxFailed } from "../driver-errors.ts";
import { signalProcess } from "../process-tree.ts";
import { residentPath } from "../resident/resident-path.ts";
import { coveredStdio } from "./inherited-files.ts";

/** One start. */
export interface BwrapStart {
  /** Absolute path or name of bubblewrap. */
  readonly bwrap: string;
  /** bubblewrap's own arguments, without the program. */
  readonly layout: readonly string[];
  /** A command that runs the resident; may be empty. */
  readonly wrapper: readonly string[];
  /** The host's user to run as; absent: this process's. */
  readonly user: number | undefined;
  /** The seccomp filter's file. */
  readonly seccomp: string | undefined;
  /** The sandbox's id, which its first process bears in its command line. */
  readonly id: string;
}

/** A bubblewrap that was started. */
export interface Bwrap {
  /** Both ways to the resident. */
  readonly connection: Duplex;
  /**
   * The first process of the sandbox's pid namespace, the resident, as the host
   * numbers it. Rejects with SANDBOX_FAILED if bubblewrap ends before.
   */
  readonly init: Promise<number>;
  /**
   * Resolves when bubblewrap is gone, and with it all that it started; but with
   * true where it was killed itself: a child of it may live on for a moment.
   */
  readonly gone: Promise<boolean>;
  /** Resolves when it is gone: the error of a failed start, with what bubblewrap said of it. */
  failure(cause: unknown): Promise<unknown>;
  /** Ends what its first process has started with it; bubblewrap follows by itself. */
  kill(): void;
  /** Ends bubblewrap where it does not follow. */
  killOuter(): void;
}

/** The file descriptors that bubblewrap gets, above the standard three. */
const fd = { channel: 3, status: 4, seccomp: 5 } as const;

const errorBytes = 4_096;

/** Starts it. What goes wrong is told by `init`. */
export function startBwrap(options: BwrapStart): Bwrap {
  const child = spawnBwrap(options);
  const connection = child.stdio[fd.channel] as Duplex;
  const status = child.stdio[fd.status] as Readable;
  const gone = Promise.withResolvers<boolean>();
  const closed = Promise.withResolvers<void>();
  const init = Promise.withResolvers<number>();
  let pid: number | undefined;
  let [said, told] = ["", ""];
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-errorBytes);
  });
  status.setEncoding("latin1").on("data", (text: string) => {
    told += text;
    const found = /"child-pid": (\d+)/.exec(told)?.[1];
    if (found === undefined || pid !== undefined) return;
    pid = Number(found);
    init.resolve(pid);
  });
  // The end of these is the end of the process, which is reported below.
  for (const stream of [status, child.stderr]) stream?.on("error", () => {});
  const failure = async (cause: unknown) => {
    await closed.promise;
    const line = said.trim().split("\n")[0] ?? "";
    return line === "" ? cause : sandboxFailed("process", line, new Error(said, { cause }));
  };
  child.once("error", (error) => {
    init.reject(sandboxFailed("process", `bubblewrap cannot be run: ${error.message}`, error));
    gone.resolve(false);
    closed.resolve();
  });
  child.once("exit", (_, signal) => gone.resolve(signal !== null));
  child.once("close", () => {
    closed.resolve();
    const cause = sandboxFailed("process", "bubblewrap ended before its program began");
    if (pid === undefined) void failure(cause).then(init.reject);
  });
  init.promise.catch(() => {});
  const killOuter = () => {
    child.kill("SIGKILL");
    // What it leaves behind holds their other ends.
    for (const stream of [status, child.stderr]) stream?.destroy();
  };
  return {
    connection,
    init: init.promise,
    gone: gone.promise,
    failure,
    kill() {
      connection.destroy();
      // The kernel ends all of a pid namespace with its first process.
      if (pid === undefined) killOuter();
      else if (isRunning(child)) signalProcess(pid, "SIGKILL");
    },
    killOuter,
  };
}

/** bubblewrap waits for its child: while it runs, that child's number is nobody else's. */
function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

function spawnBwrap({ bwrap, layout, wrapper, user, seccomp, id }: BwrapStart): ChildProcess {
  const program = openSync(residentPath, "r");
  const filter = seccomp === undefined ? [] : [openSync(seccomp, "r")];
  const nothing = openSync("/dev/null", "r");
  const args = [
    ...layout,
    ...["--json-status-fd", `${fd.status}`],
    ...(seccomp === undefined ? [] : ["--seccomp", `${fd.seccomp}`]),
    // The program comes as its input: its file need not be reachable for the sandbox's user.
    ...["--", ...wrapper, "perl", "-", "cage", `${fd.channel}`, `${fd.channel}`, id],
  ];
  try {
    const wanted = [program, "ignore", "pipe", "pipe", "pipe", ...filter] as const;
    return spawn(bwrap, args, {
      stdio: coveredStdio(wanted, nothing),
      // Nothing of the host's.
      env: {},
      cwd: "/",
      ...(user !== undefined && { uid: user, gid: user }),
    });
  } finally {
    for (const descriptor of [program, ...filter, nothing]) closeSync(descriptor);
  }
}
