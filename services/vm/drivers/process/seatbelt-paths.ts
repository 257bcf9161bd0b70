/**
 * Paths of a sandbox that has no file system of its own: `/work`, `/tmp`,
 * mounts and doors lie elsewhere, and are put in for their names in arguments,
 * variables and folders that begin with them.
 */
import type { SandboxSpec } from "../driver.ts";
import { doorPath } from "../driver-errors.ts";

/** Where a sandbox's folders lie on the host. */
export interface SeatbeltFolders {
  readonly work: string;
  readonly tmp: string;
  /** Where its doors' sockets lie. */
  readonly doors: string;
}

/** Puts a sandbox's real paths in for the names that every sandbox has. */
export class SeatbeltPaths {
  readonly #real: readonly (readonly [name: string, real: string])[];

  constructor(spec: SandboxSpec, folders: SeatbeltFolders) {
    this.#real = [
      ...spec.mounts.map(({ sandboxPath, hostPath }) => [sandboxPath, hostPath] as const),
      ...spec.doors.map(({ name }) => [doorPath(name), `${folders.doors}/${name}.sock`] as const),
      ["/work", folders.work],
      ["/tmp", folders.tmp],
    ];
  }

  /** The text with a leading name replaced; as it is otherwise. */
  real(text: string): string {
    for (const [name, real] of this.#real) {
      if (text === name) return real;
      if (text.startsWith(`${name}/`)) return real + text.slice(name.length);
    }
    return text;
  }

  /** A search path or another list with colons, part by part. */
  realList(text: string): string {
    return text
      .split(":")
      .map((part) => this.real(part))
      .join(":");
  }
}
