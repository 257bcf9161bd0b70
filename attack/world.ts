/**
 * What the host plants and watches: files, a process, listeners and shared
 * memory that no sandbox may reach, each with a secret of its own.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { AttackLimits } from "./target.ts";
import { WayOut } from "./way-out.ts";

const execute = promisify(execFile);

/** Things with a secret, as evidence names them. */
const planted = {
  file: "a file of the host that everyone may read",
  private: "a file of the host that only its owner may read",
  arguments: "the arguments of a process of the host",
  environment: "the environment of a process of the host",
  network: "a listener of the host",
  abstract: "an abstract socket of the host",
  shm: "shared memory of the host (System V)",
  posixShm: "shared memory of the host (/dev/shm)",
  docker: "a container engine's socket",
  behind: "a host that the network policy does not allow",
  proxy: "a secret that only the egress proxy holds",
} as const;

type Planted = keyof typeof planted;

/** Where a name server of the world listens, where root may; nobody else uses the address. */
const nameServerAddress = "127.53.53.53";

/** The host as the attempts find it. */
export class World {
  /** Below it lies what no sandbox may touch. */
  readonly folder: string;
  readonly #secrets: Readonly<Record<Planted, string>>;
  readonly #visits: string[] = [];
  readonly #closers: (() => unknown)[] = [];
  #victim: ChildProcess | undefined;
  #tcpPort = 0;
  #udpPort = 0;
  #shmId = "";
  #hasNameServer = false;
  #way: WayOut | undefined;

  private constructor(folder: string) {
    this.folder = folder;
    this.#secrets = Object.fromEntries(
      Object.keys(planted).map((name) => [name, `canary-${randomBytes(16).toString("hex")}`]),
    ) as Record<Planted, string>;
  }

  /** Plants everything. What cannot be had on this host (System V memory) is left out. */
  static async make(): Promise<World> {
    const folder = mkdtempSync(join(tmpdir(), "devmesh-attack-"));
    chmodSync(folder, 0o755);
    const world = new World(folder);
    try {
      await world.#plant();
      return world;
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  get filePath(): string {
    return join(this.folder, "readable.txt");
  }

  get privatePath(): string {
    return join(this.folder, "private", "secret.txt");
  }

  /** A folder in which no sandbox may make a file. */
  get targetFolder(): string {
    return join(this.folder, "target");
  }

  /** The hosts and the policy of sandboxes that have a way out. */
  get way(): WayOut {
    if (this.#way === undefined) throw new Error("the world is not made yet");
    return this.#way;
  }

  /** A socket that answers as a container engine does. */
  get dockerSocket(): string {
    return join(this.folder, "docker.sock");
  }

  nonce(): string {
    return randomBytes(8).toString("hex");
  }

  /** What an attacker is told: where things are, never what is in them. */
  clues(limits: AttackLimits): Record<string, string> {
    return {
      ...this.way.clues(),
      HOST_FILE: this.filePath,
      HOST_PRIVATE: this.privatePath,
      HOST_TARGET: this.targetFolder,
      VICTIM: String(this.#victim?.pid ?? 0),
      HOST_ADDRESSES: addresses().join(" "),
      TCP_PORT: String(this.#tcpPort),
      UDP_PORT: String(this.#udpPort),
      HOST_NAMESPACES: namespaces(),
      ABSTRACT: this.#abstractName,
      SHM_ID: this.#shmId,
      SHM_NAME: this.#shmName,
      DNS_SERVERS: [
        this.#hasNameServer ? nameServerAddress : "",
        "127.0.0.53",
        "8.8.8.8",
        "1.1.1.1",
      ]
        .filter(Boolean)
        .join(" "),
      DISK_MIB: String(limits.diskMib),
      MEMORY_MIB: String(limits.memoryMib),
      PIDS: String(limits.pids),
    };
  }

  /** The planted things whose secret is in a text or in bytes. */
  toldIn(output: string | Buffer): string[] {
    return (Object.keys(planted) as Planted[])
      .filter((name) => output.includes(this.#secrets[name]))
      .map((name) => planted[name]);
  }

  /** What of this try reached the host. */
  async seenSince(nonce: string): Promise<string[]> {
    // What was sent before the program ended is in our buffers: one turn takes it in.
    await new Promise((resolve) => setTimeout(resolve, 20));
    const seen = this.#visits.filter((visit) => visit.includes(nonce));
    const mark = existsSync(join(this.targetFolder, nonce));
    const evidence = seen.map((visit) => `the host was reached: ${visit.split("\n")[0]}`);
    if (mark) evidence.push("a file was made on the host");
    if (this.#victim !== undefined && hasEnded(this.#victim)) {
      evidence.push("a process of the host was ended");
      await this.#startVictim();
    }
    return evidence;
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  get #abstractName(): string {
    return `devmesh-attack-${this.#secrets.file.slice(-12)}`;
  }

  get #shmName(): string {
    return `devmesh-attack-${this.#secrets.file.slice(-12)}`;
  }

  async #plant(): Promise<void> {
    const secrets = this.#secrets;
    writeFileSync(this.filePath, secrets.file, { mode: 0o644 });
    mkdirSync(join(this.folder, "private"), { mode: 0o700 });
    writeFileSync(this.privatePath, secrets.private, { mode: 0o600 });
    mkdirSync(this.targetFolder);
    chmodSync(this.targetFolder, 0o777);
    if (existsSync("/dev/shm")) {
      const path = join("/dev/shm", this.#shmName);
      writeFileSync(path, secrets.posixShm, { mode: 0o644 });
      this.#closers.push(() => rmSync(path, { force: true }));
    }
    this.#closers.push(() => this.#victim?.kill("SIGKILL"));
    await this.#startVictim();
    this.#tcpPort = await this.#listen({ port: 0, host: "::" }, "network");
    await this.#listen({ path: `\0${this.#abstractName}` }, "abstract");
    await this.#listen({ path: this.dockerSocket }, "docker");
    chmodSync(this.dockerSocket, 0o666);
    this.#udpPort = await this.#listenUdp(0, "::", "udp6");
    try {
      await this.#listenUdp(53, nameServerAddress, "udp4");
      await this.#listen({ port: 53, host: nameServerAddress }, "network");
      this.#hasNameServer = true;
    } catch {
      // Only root may listen there: the attempts ask other name servers alone.
    }
    await this.#makeShm();
    const way = await WayOut.open({
      folder: this.folder,
      secret: secrets.proxy,
      answer: secrets.behind,
      onVisit: (text) => this.#visits.push(text),
    });
    this.#closers.push(() => way.close());
    this.#way = way;
  }

  async #startVictim(): Promise<void> {
    const victim = spawn("sleep", ["7200"], {
      argv0: `victim-${this.#secrets.arguments}`,
      env: { PATH: process.env.PATH ?? "", VICTIM: this.#secrets.environment },
      stdio: "ignore",
    });
    this.#victim = victim;
    await once(victim, "spawn");
  }

  async #listen(where: { port?: number; host?: string; path?: string }, name: Planted) {
    const server: Server = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      let text = "";
      socket.on("data", (data) => {
        // A question of DNS over TCP, an HTTP request or a bare line: the nonce is in each.
        text = (text + data.toString("latin1")).slice(-4096);
        this.#visits.push(`${planted[name]} got ${JSON.stringify(text.slice(0, 200))}`);
        socket.end(`HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n${this.#secrets[name]}`);
      });
      socket.setTimeout(10_000, () => socket.destroy());
    });
    server.listen(where);
    await once(server, "listening");
    this.#closers.push(() => server.close());
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  async #listenUdp(port: number, address: string, type: "udp4" | "udp6"): Promise<number> {
    const socket: UdpSocket = createSocket({ type });
    socket.on("message", (data, from) => {
      this.#visits.push(
        `a UDP listener got ${JSON.stringify(data.toString("latin1").slice(0, 200))}`,
      );
      socket.send(data, from.port, from.address);
    });
    socket.bind(port, address);
    await once(socket, "listening");
    this.#closers.push(() => socket.close());
    return socket.address().port;
  }

  async #makeShm(): Promise<void> {
    const make = `my $id = shmget(0, 4096, 01666) // exit 1; shmwrite($id, $ENV{TEXT}, 0, 64); print $id`;
    try {
      const env = { PATH: process.env.PATH ?? "", TEXT: this.#secrets.shm };
      const { stdout } = await execute("perl", ["-e", make], { env });
      this.#shmId = stdout.trim();
      const remove = `shmctl($ENV{ID}, 0, 0)`;
      this.#closers.push(() =>
        execute("perl", ["-e", remove], { env: { ...env, ID: this.#shmId } }).catch(() => {}),
      );
    } catch {
      // No Perl on this host: the attempt finds no segment to look for.
    }
  }
}

/** The host's own addresses, and those where guests find their hosts. */
function addresses(): string[] {
  const own = Object.values(networkInterfaces()).flatMap((rows) => rows ?? []);
  const found = own.map(({ address }) => address).filter((address) => !address.startsWith("fe80"));
  return [...new Set(["127.0.0.1", "::1", ...found, "10.0.2.2", "172.17.0.1"])];
}

/** This process's own namespaces, as `/proc` names them. */
function namespaces(): string {
  const kinds = ["ipc", "mnt", "net", "pid", "user", "uts"];
  return kinds.map((kind) => readlinkSync(`/proc/self/ns/${kind}`)).join(" ");
}

/** By the kernel's own word where it has one: our news of an end may come later. */
function hasEnded({ pid, exitCode, signalCode }: ChildProcess): boolean {
  if (exitCode !== null || signalCode !== null) return true;
  if (!existsSync("/proc/self/stat")) return false;
  try {
    return /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    // It is gone, and was collected.
    return true;
  }
}
