/** The files that a start hands down, and those that it must not: what this process inherited itself. */
import { readdirSync, readFileSync } from "node:fs";

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
