/**
 * The files that a start hands down, and those that it must not: real pipes for
 * output, the seccomp filter, and what this process inherited itself.
 */
import { closeSync, constants, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { Socket } from "node:net";

/** Both ends of a pipe. */
export interface OpenPipe {
  readonly read: Socket;
  /** A file descriptor; must be closed once the child has it. */
  readonly write: number;
}

/**
 * Opens a named pipe at both ends and takes its name away. Node's own stdio
 * pipes are sockets, and on those `> /dev/stderr` fails.
 */
export function openPipe(path: string): OpenPipe {
  const reading = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const write = openSync(path, constants.O_WRONLY);
  rmSync(path);
  return { read: new Socket({ fd: reading, readable: true, writable: false }), write };
}

/** Closes what was opened for one start. */
export function closeAll(descriptors: readonly number[]): void {
  for (const descriptor of descriptors) closeSync(descriptor);
}

/**
 * The stdio of a child that gets `wanted` and nothing else. A descriptor that
 * this process got from its own parent, or that an addon opened carelessly,
 * would reach the child otherwise: `nothing`, an open `/dev/null`, covers it.
 */
export function coveredStdio<T>(wanted: readonly T[], nothing: number): (T | number | "ignore")[] {
  const stdio: (T | number | "ignore")[] = [...wanted];
  for (const descriptor of inheritable()) {
    if (descriptor < wanted.length) continue;
    while (stdio.length < descriptor) stdio.push("ignore");
    stdio[descriptor] = nothing;
  }
  return stdio;
}

const closeOnExec = 0o2000000;

/** The open descriptors that a child would get, above the standard three. */
function inheritable(): number[] {
  return readdirSync("/proc/self/fd")
    .map(Number)
    .filter((descriptor) => {
      if (descriptor < 3) return false;
      try {
        const info = readFileSync(`/proc/self/fdinfo/${descriptor}`, "latin1");
        const flags = Number.parseInt(/^flags:\s*([0-7]+)/m.exec(info)?.[1] ?? "0", 8);
        return (flags & closeOnExec) === 0;
      } catch {
        // The descriptor of the listing itself, closed by now.
        return false;
      }
    })
    .sort((a, b) => a - b);
}
