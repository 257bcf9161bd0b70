/**
 * What a Seatbelt sandbox really refuses, found by trying it inside, and the
 * receipt of it. What macOS has no bound for is said to have none.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { SandboxLimits } from "../driver.ts";
import { sandboxFailed } from "../driver-errors.ts";
import type { SandboxReceipt } from "../receipt.ts";
import { quoted } from "./sandbox-runtime.ts";
import { lookEveryMs } from "./seatbelt-watch.ts";

const by = "sandbox-runtime profile";
const trialTimeoutMs = 20_000;

/** What was tried, and whether it was refused. */
export interface Trial {
  readonly writeOutside: boolean;
  readonly readOutside: boolean;
  readonly connect: boolean;
}

/**
 * Tries a write and a read beside the sandbox's own folder, and a connection to
 * a port of this host. `wrap` answers the arguments that run a line of shell inside.
 */
export async function tryInside(
  base: string,
  wrap: (line: string) => Promise<readonly string[]>,
): Promise<Trial> {
  const outside = join(base, `trial-${randomUUID()}`);
  const secret = randomUUID();
  const server = createServer((socket) => socket.end(`${secret}\n`));
  try {
    await mkdir(outside, { mode: 0o755 });
    await writeFile(join(outside, "secret"), secret, { mode: 0o644 });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const address = server.address();
    const port = address !== null && typeof address === "object" ? address.port : 0;
    const line = [
      `echo x > ${quoted(join(outside, "written"))}`,
      `echo read:$(cat ${quoted(join(outside, "secret"))})`,
      // perl is on every macOS, and says what a shell cannot try.
      `perl -e 'socket(S,2,1,0); connect(S, pack "S n C4 x8", 2, $ARGV[0], 127,0,0,1) and print "net:", scalar <S>' ${port}`,
      // macOS wants the length before the family; one of the two is a right address.
      `perl -e 'socket(S,2,1,0); connect(S, pack "C2 n C4 x8", 16, 2, $ARGV[0], 127,0,0,1) and print "net:", scalar <S>' ${port}`,
      "echo tried",
    ].join("\n");
    const said = await saidBy(await wrap(line));
    const written = await readFile(join(outside, "written")).catch(() => undefined);
    return {
      writeOutside: written === undefined,
      readOutside: !said.includes(`read:${secret}`),
      connect: !said.includes(`net:${secret}`),
    };
  } finally {
    server.close();
    await rm(outside, { recursive: true, force: true });
  }
}

/** What a trial says. Throws SANDBOX_FAILED if it does not come to its end. */
async function saidBy([file = "", ...args]: readonly string[]): Promise<string> {
  const child = spawn(file, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: "/usr/bin:/bin" },
    timeout: trialTimeoutMs,
    killSignal: "SIGKILL",
  });
  const ended = once(child, "close");
  const [said, errors] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (/^tried$/m.test(said)) return said;
  // The command itself is not told: it holds a token of the library's.
  const line = errors.trim().split("\n").at(-1) ?? "";
  throw sandboxFailed("process", `nothing can be tried inside: ${line.slice(0, 200)}`);
}

/** The receipt that the trial allows. A member that does not hold makes `requireReceipt` fail. */
export function seatbeltReceipt(
  engine: string,
  limits: SandboxLimits,
  { writeOutside, readOutside, connect }: Trial,
): SandboxReceipt {
  const tried = (what: string) => `${by}; tried inside: ${what}`;
  const watched = `watch (ps and du every ${lookEveryMs} ms, SIGKILL above it)`;
  const mib = 1024 * 1024;
  const holds = writeOutside && readOutside;
  return {
    ...{ driver: "process", isolation: "process", engine },
    memoryBytes: { value: limits.memoryMib * mib, source: watched },
    pids: { value: limits.pids, source: watched },
    diskBytes: { value: limits.diskMib * mib, source: watched },
    cpuMillis: {
      value: availableParallelism() * 1000,
      source: "none: all of the host's processors",
    },
    uid: { value: process.getuid?.() ?? 0, source: "getuid of the host's process" },
    gid: { value: process.getgid?.() ?? 0, source: "getgid of the host's process" },
    noNewPrivileges: { value: holds, source: `${by}: set-id programs do not start` },
    seccomp: { value: holds, source: tried("reading and writing outside of the work dir") },
    capabilities: {
      value: { effective: "0", permitted: "0", bounding: "0" },
      source: "none: the system has no capabilities",
    },
    namespaces: { value: [], source: "none: the system has no namespaces" },
    interfaces: {
      value: connect ? [] : ["127.0.0.1"],
      source: tried("connecting to a port of 127.0.0.1"),
    },
    mounts: { value: [], source: "none: the system has no mounts of a sandbox's own" },
    readOnlyRoot: { value: writeOutside, source: tried("writing outside of the work dir") },
  };
}
