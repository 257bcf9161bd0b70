/** What is copied to another machine: the runner in one file, what it reads, the agent, and Node. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";

/** A file to copy. */
export interface ProgramFile {
  readonly path: string;
  /** Its name over there. */
  readonly name: string;
  readonly mode: number;
}

/** The folder that `scripts/build.ts` fills. */
const programFolder = join(import.meta.dirname, "..", "dist", "runner");

/** The oldest Node that runs it. */
export const leastNodeMajor = 24;

/** The files, with this machine's Node if the other one needs it. Throws UNAVAILABLE if they are not built. */
export async function programFiles(
  agentPath: string | undefined,
  withNode: boolean,
): Promise<ProgramFile[]> {
  if (!existsSync(join(programFolder, "runner.mjs"))) {
    throw new DevmeshError("UNAVAILABLE", "the runner is not built: run `node scripts/build.ts`", {
      metadata: { part: "runner" },
    });
  }
  const names = (await readdir(programFolder)).sort();
  const files = names.map((name) => ({ path: join(programFolder, name), name, mode: 0o600 }));
  return [
    ...files,
    ...(agentPath === undefined ? [] : [{ path: agentPath, name: "coder.mjs", mode: 0o600 }]),
    ...(withNode ? [{ path: process.execPath, name: "node", mode: 0o700 }] : []),
  ];
}

/** Lines for `sha256sum -c`. */
export async function digestsOf(files: readonly ProgramFile[]): Promise<string> {
  const lines: string[] = [];
  for (const { path, name } of files) {
    const hash = createHash("sha256");
    for await (const chunk of createReadStream(path)) hash.update(chunk);
    lines.push(`${hash.digest("hex")}  ${name}\n`);
  }
  return lines.join("");
}

/** `Linux x86_64` and the like, as `uname -sm` says it; undefined where Node has no name for it. */
export function systemOfNode(): string | undefined {
  if (process.platform !== "linux") return undefined;
  // A Node for another C library starts on none but its own.
  const isGlibc = !readFileSync("/proc/self/maps", "utf8").includes("ld-musl");
  const machine = { x64: "x86_64", arm64: "aarch64" }[process.arch as string];
  return isGlibc && machine !== undefined ? `Linux ${machine}` : undefined;
}
