/**
 * What the suite's parts share: the driver under test, archives, and running a
 * program to its end.
 */
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { DevmeshError } from "@devmesh/mesh/errors";
import tar from "tar-stream";
import type {
  ExecSpec,
  ExitState,
  Sandbox,
  SandboxDriver,
  SandboxProcess,
  SandboxSpec,
} from "../driver.ts";
import { suitePrograms } from "./programs.ts";

/** What the suite asks of a host for one driver. */
export interface SuiteSubject {
  readonly driver: SandboxDriver;
  /**
   * The source of a module that exports, as `driver`, another driver with the
   * same state folder, for the tests that end a process. Imports by URL.
   * Absent: those tests need an excluded trait `reap`.
   */
  readonly childSource?: string;
  cleanup(): Promise<void>;
}

/** What only real isolation can meet. */
export type SuiteTrait =
  | "isolation"
  | "network"
  | "mounts"
  | "reap"
  | "hardening"
  | "hostProcess"
  /** A cap that a program meets ends or holds that program alone. */
  | "caps"
  /** What holds a program shows in its own `/proc`. */
  | "ownProc";

/** Excluded traits, each with its reason. */
export type SuiteTraits = Readonly<Partial<Record<SuiteTrait, string>>>;

/** Answers the subject of the running suite. */
export interface SuiteContext {
  subject(): SuiteSubject;
  readonly traits: SuiteTraits;
}

/** A spec with small limits and a fresh id. */
export function suiteSpec(overrides: Partial<SandboxSpec> = {}): SandboxSpec {
  return {
    id: `sbx_${randomUUID().replaceAll("-", "").slice(0, 20)}`,
    jobId: "job_suite",
    limits: { memoryMib: 256, cpuMillis: 1000, pids: 512, diskMib: 96 },
    mounts: [],
    doors: [],
    ...overrides,
  };
}

/** A file, folder, link or device of a test archive. */
export interface ArchiveEntry {
  readonly name: string;
  readonly type?: "file" | "directory" | "symlink" | "link" | "character-device" | "fifo";
  readonly mode?: number;
  readonly data?: string | Buffer;
  readonly linkname?: string;
}

/** A tar stream of the entries, exactly as they are named. */
export function archive(entries: readonly ArchiveEntry[]): Readable {
  const pack = tar.pack();
  for (const { data, ...header } of entries) {
    const body = Buffer.from(data ?? "");
    pack.entry({ mode: header.type === "directory" ? 0o755 : 0o644, ...header }, body);
  }
  pack.finalize();
  return Readable.from(pack, { objectMode: false });
}

/** The same as gzip. */
export async function zippedArchive(entries: readonly ArchiveEntry[]): Promise<Readable> {
  return Readable.from([gzipSync(await buffer(archive(entries)))]);
}

/** What came out of a sandbox, by path without `./` and trailing slashes. */
export async function unpack(
  source: Readable,
): Promise<Map<string, { type: string; mode: number; data: Buffer; linkname: string }>> {
  const found = new Map<string, { type: string; mode: number; data: Buffer; linkname: string }>();
  const extract = tar.extract();
  source.on("error", (error) => extract.destroy(error));
  source.pipe(extract);
  for await (const entry of extract) {
    const parts: Buffer[] = [];
    for await (const part of entry as AsyncIterable<Buffer>) parts.push(part);
    const { name, type, mode, linkname } = entry.header;
    const path = name.replace(/^\.\//, "").replace(/\/$/, "");
    if (path === "" || path === ".") continue;
    found.set(path, {
      type: type ?? "",
      mode: (mode ?? 0) & 0o777,
      data: Buffer.concat(parts),
      linkname: linkname ?? "",
    });
  }
  return found;
}

/** Makes a sandbox that has the suite's programs in `/work/bin`. */
export async function sandboxWithPrograms(
  context: SuiteContext,
  overrides: Partial<SandboxSpec> = {},
): Promise<Sandbox> {
  const sandbox = await context.subject().driver.create(suiteSpec(overrides));
  await sandbox.put(
    archive(
      Object.entries(suitePrograms).map(([name, { sh }]) => ({
        name: `bin/${name}`,
        mode: 0o755,
        data: `#!/bin/sh\n${sh}\n`,
      })),
    ),
  );
  return sandbox;
}

/** Everything that a program said and how it ended. */
export interface RunResult extends ExitState {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** stdout as text. */
  readonly text: string;
}

/** Reads a program to its end. */
export async function finish(process: SandboxProcess): Promise<RunResult> {
  const parts = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  for await (const { stream, data } of process.output()) parts[stream].push(Buffer.from(data));
  const stdout = Buffer.concat(parts.stdout);
  return {
    ...(await process.exit),
    stdout,
    stderr: Buffer.concat(parts.stderr),
    text: stdout.toString(),
  };
}

/** Runs one of the suite's programs to its end. */
export async function run(
  sandbox: Sandbox,
  program: string,
  args: readonly string[] = [],
  more: Partial<ExecSpec> = {},
): Promise<RunResult> {
  return finish(await sandbox.exec({ argv: [`/work/bin/${program}`, ...args], env: {}, ...more }));
}

/** Runs a Perl script to its end, which is in every base system; for real sandboxes only. */
export async function perl(
  sandbox: Sandbox,
  script: string,
  args: readonly string[] = [],
): Promise<RunResult> {
  return finish(await sandbox.exec({ argv: ["perl", "-we", script, ...args], env: {} }));
}

/** The field that a call is refused for; "none" if it is not refused for one. */
export async function refusedField(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "none";
  } catch (error: unknown) {
    const isKnown = error instanceof DevmeshError && error.reason === "INVALID_FIELD";
    return isKnown ? (error.metadata.field ?? "none") : String(error);
  }
}

/** Runs a line of shell to its end; for real sandboxes only. */
export async function shell(sandbox: Sandbox, line: string): Promise<RunResult> {
  return finish(await sandbox.exec({ argv: ["sh", "-c", line], env: {} }));
}

/**
 * Starts one of the suite's programs and answers when its output has `count`
 * lines that say "ready".
 */
export async function startReady(
  sandbox: Sandbox,
  program: string,
  count = 1,
): Promise<{ process: SandboxProcess; rest: Promise<string> }> {
  const process = await sandbox.exec({ argv: [`/work/bin/${program}`], env: {} });
  const ready = Promise.withResolvers<void>();
  const rest = (async () => {
    let text = "";
    for await (const { data } of process.output()) {
      text += data.toString();
      if (text.split("ready\n").length > count) ready.resolve();
    }
    ready.reject(new Error(`${program} ended before it was ready: ${text}`));
    return text;
  })();
  await ready.promise;
  return { process, rest };
}

/** The reason with which a call is refused; "none" if it is not. */
export async function refusal(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "none";
  } catch (error: unknown) {
    return error instanceof DevmeshError ? error.reason : String(error);
  }
}

/** Skips the running test if the trait is excluded. */
export function needs(context: SuiteContext, trait: SuiteTrait, test: Mocha.Context): void {
  const reason = context.traits[trait];
  if (reason === undefined) return;
  if (test.test) test.test.title += ` (not for this driver: ${reason})`;
  test.skip();
}
