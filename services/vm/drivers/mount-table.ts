/** The kernel's table of mounts, read and parsed. What is mounted, and what is done about it, is left to its readers. */
import { readFile } from "node:fs/promises";

/** A row of the table. */
export interface Mount {
  /** What of the file system is mounted: `/` is all of it. */
  readonly root: string;
  /** Where it is mounted. */
  readonly path: string;
  readonly type: string;
  /** Of this mount, with commas. */
  readonly options: string;
  /** Of the file system, with commas. */
  readonly superOptions: string;
}

/** The mounts that this process sees, in their order. Throws where there is no `/proc`. */
export async function readMounts(): Promise<Mount[]> {
  return parseMounts(await readFile("/proc/self/mountinfo", "utf8"));
}

/** The mounts of a `mountinfo`, in its order. */
export function parseMounts(mountinfo: string): Mount[] {
  return mountinfo
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [front = "", back = ""] = line.split(" - ");
      const [, , , root = "", path = "", options = ""] = front.split(" ");
      const [type = "", , superOptions = ""] = back.split(" ");
      return { root: plainPath(root), path: plainPath(path), type, options, superOptions };
    });
}

/** Blanks and backslashes of paths are octal numbers in the table. */
function plainPath(path: string): string {
  return path.replace(/\\(\d{3})/g, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 8)),
  );
}
