/**
 * Sandboxes that are made wrong on purpose, each in its own way: what the suite
 * must find, so that its silence elsewhere means something.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { openCareless, openWide, type WeakProxy } from "./careless-proxy.ts";
import { wholeProgram } from "./prelude.ts";
import { attackLimits, type ProgramEnd, type Room, type Target } from "./target.ts";
import type { WayOut } from "./way-out.ts";
import type { World } from "./world.ts";

const execute = promisify(execFile);

/** One way to make a sandbox wrong. */
export interface Weakness {
  /** For example `host-network`. */
  readonly name: string;
  /** bubblewrap's arguments instead of those that would have held. */
  readonly args: (world: World) => readonly string[];
  /** Kinds of namespaces that it shares with the host. */
  readonly shares?: readonly ("net" | "pid" | "ipc" | "uts")[];
  /** True: what it collects is collected by following links. */
  readonly followsLinks?: boolean;
  /** Its way out, for attempts that have one. Absent: none. */
  readonly openProxy?: (way: WayOut) => Promise<WeakProxy>;
  /** Attempts that must succeed on it. */
  readonly finds: readonly string[];
}

const scratch = ["--tmpfs", "/tmp"];

/** The weaknesses that the suite is held to. */
export const weaknesses: readonly Weakness[] = [
  {
    name: "no-filter-and-no-caps",
    args: () => [],
    finds: [
      ...["unshare-user-namespace", "clone-user-namespace", "become-root", "userfaultfd"],
      ...["io-uring", "keyrings", "core-pattern", "sysctl-write", "swap-and-accounting"],
      ...["fork-bomb", "memory-beyond-cap", "disk-beyond-cap", "memory-by-files"],
      ...["memory-by-memfd", "memory-by-shared-maps", "memory-by-system-v"],
      ...["memory-by-hidden-program", "disk-by-nameless-files", "disk-in-closed-folders"],
      "workspace-through-link",
    ],
  },
  {
    name: "host-network",
    args: () => [],
    shares: ["net"],
    finds: [
      ...["interfaces", "host-loopback", "host-addresses", "udp", "mapped-ipv4", "broadcast"],
      ...["ipv6", "abstract-socket"],
    ],
  },
  {
    name: "host-pids",
    args: () => [],
    shares: ["pid"],
    finds: [...["see-host-processes", "kill-host-process", "steal-descriptor"], "read-host-file"],
  },
  {
    name: "host-ipc",
    args: () => ["--ro-bind", "/dev/shm", "/dev/shm"],
    shares: ["ipc"],
    finds: ["system-v-memory", "posix-memory"],
  },
  { name: "writable-root", args: () => [], finds: ["write-root"] },
  {
    name: "host-files",
    args: ({ folder }) => ["--bind", folder, folder],
    finds: ["read-host-file", "write-host-folder"],
  },
  {
    name: "engine-socket",
    args: ({ dockerSocket }) => ["--ro-bind", dockerSocket, "/run/docker.sock"],
    finds: ["container-engine-socket"],
  },
  {
    name: "sys-admin",
    args: () => ["--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SYS_CHROOT"],
    finds: [
      ...["mount-new", "mount-by-new-calls", "remount-writable", "pivot-root", "chroot-escape"],
      ...["unshare-other-namespaces", "hold-capabilities", "host-name-and-clock", "unmount"],
    ],
  },
  {
    name: "all-capabilities",
    args: () => ["--cap-add", "ALL"],
    finds: [
      ...["raw-sockets", "packet-sockets", "icmp", "make-interface", "raise-priority", "bpf"],
      ...["perf-events", "reboot", "kernel-log", "open-by-handle"],
    ],
  },
  {
    name: "host-devices",
    args: () => ["--cap-add", "CAP_MKNOD", "--dev-bind", "/dev", "/dev"],
    finds: ["existing-devices", "loop-device", "fuse-and-tun", "tunnel-device"],
  },
  {
    name: "host-settings",
    args: () => ["--bind", "/sys", "/sys"],
    finds: ["sys-write", "cgroup-release-agent"],
  },
  {
    name: "careless-collector",
    args: () => [],
    followsLinks: true,
    finds: ["artifact-symlinks"],
  },
  {
    name: "careless-proxy",
    args: () => [],
    // So that the proxy's port on the host is the sandbox's own.
    shares: ["net"],
    openProxy: openCareless,
    finds: [
      ...["policy-interfaces", "policy-host-loopback", "policy-host-addresses", "policy-ipv6"],
      ...["proxy-other-host", "proxy-other-port", "proxy-dns-tunnel", "proxy-connect-address"],
      ...["proxy-private-name", "proxy-metadata-name", "proxy-mixed-name", "proxy-rebinding"],
      ...["proxy-redirect", "proxy-sni-mismatch", "proxy-no-tls", "proxy-method", "proxy-path"],
      ...["proxy-host-header", "proxy-smuggling", "proxy-socks", "proxy-secret"],
    ],
  },
  {
    name: "wide-policy",
    args: () => [],
    shares: ["net"],
    openProxy: openWide,
    finds: [
      ...["proxy-other-host", "proxy-other-port", "proxy-private-name", "proxy-mixed-name"],
      ...["proxy-method", "proxy-path"],
    ],
  },
];

/** Bubblewrap with one thing wrong; as root, without a seccomp filter and without caps. */
export function weakTarget(weakness: Weakness, world: World, bwrap: string): Target {
  return {
    name: weakness.name,
    isolation: "none",
    engine: "bubblewrap, mis-set",
    open: async (way) => {
      const proxy = way && (await weakness.openProxy?.(way));
      return new WeakRoom(weakness, world, bwrap, proxy);
    },
  };
}

class WeakRoom implements Room {
  readonly limits = attackLimits;
  readonly #weakness: Weakness;
  readonly #world: World;
  readonly #bwrap: string;
  readonly #proxy: WeakProxy | undefined;
  readonly #folder: string;
  readonly #work: string;
  readonly #running = new Set<ChildProcess>();

  constructor(weakness: Weakness, world: World, bwrap: string, proxy: WeakProxy | undefined) {
    this.#proxy = proxy;
    this.#weakness = weakness;
    this.#world = world;
    this.#bwrap = bwrap;
    this.#folder = mkdtempSync(join(tmpdir(), `devmesh-weak-${randomBytes(2).toString("hex")}-`));
    this.#work = join(this.#folder, "work");
    mkdirSync(this.#work);
    chmodSync(this.#work, 0o777);
  }

  perl(
    program: string,
    env: Readonly<Record<string, string>>,
    timeoutMs: number,
  ): Promise<ProgramEnd> {
    const { args, shares = [], name } = this.#weakness;
    const unshared = (["net", "pid", "ipc", "uts"] as const).filter(
      (kind) => !shares.includes(kind),
    );
    const words = [
      ...["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"],
      ...["/bin", "/lib", "/lib64", "/sbin"].flatMap((path) => ["--symlink", `usr${path}`, path]),
      ...scratch,
      ...["--bind", this.#work, "/work", "--chdir", "/work"],
      ...unshared.map((kind) => `--unshare-${kind}`),
      ...["--die-with-parent", "--new-session", "--cap-drop", "ALL"],
      ...args(this.#world),
      ...(name === "writable-root" ? [] : ["--remount-ro", "/"]),
      ...["--", "perl", "-e", wholeProgram(program)],
    ];
    const child = spawn(this.#bwrap, words, {
      env: { PATH: "/usr/bin:/bin", ...this.#proxy?.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#running.add(child);
    const parts: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data: Buffer) => parts.push(data));
    }
    const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => {
        clearTimeout(timer);
        this.#running.delete(child);
        resolve({ output: Buffer.concat(parts).toString("latin1"), exitCode: code ?? 124 });
      });
    });
  }

  async put(tar: Readable): Promise<void> {
    const child = spawn("tar", ["-x", "--keep-directory-symlink", "-C", this.#work, "-f", "-"], {
      stdio: ["pipe", "ignore", "ignore"],
    });
    const ended = new Promise((resolve) => child.once("close", resolve));
    await pipeline(tar, child.stdin);
    await ended;
  }

  async get(): Promise<Readable> {
    const careless = this.#weakness.followsLinks === true;
    // Of what links lead to, files alone: a link may lead to the whole host.
    const names = careless ? readdirSync(this.#work).filter((name) => this.#isFile(name)) : ["."];
    const words = ["-c", ...(careless ? ["-h"] : []), "-C", this.#work, "-f", "-", "--", ...names];
    const child = spawn("tar", words, { stdio: ["ignore", "pipe", "ignore"] });
    return child.stdout;
  }

  #isFile(name: string): boolean {
    try {
      return statSync(join(this.#work, name)).isFile();
    } catch {
      // It leads nowhere.
      return false;
    }
  }

  async close(): Promise<void> {
    for (const child of this.#running) child.kill("SIGKILL");
    await this.#proxy?.close();
    try {
      rmSync(this.#folder, { recursive: true, force: true });
    } catch {
      // Device nodes and mounts of an attempt that succeeded: the folder is the tests' own.
      await execute("rm", ["-rf", this.#folder]).catch(() => {});
    }
  }
}
