/** A real sshd of our own on loopback: its own keys, and any folder as the user's home. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { join } from "node:path";
import { type Child, startChild } from "./child.ts";
import { ensureBinary } from "./debian.ts";
import { freePort } from "./free-port.ts";
import { attempt, type Found, missing, type PartOptions } from "./part.ts";
import { isRoot, run } from "./run.ts";
import { tempDir } from "./temp-dir.ts";

const commandLimitMs = 20_000;
const readyLimitMs = 20_000;

/** How it is started. */
export interface SshdOptions extends PartOptions {
  /** The home folder that sessions see. */
  home: string;
  /** The PATH that sessions see. Default: the system's. */
  path?: string | undefined;
}

/** A server that runs. */
export interface Sshd {
  readonly port: number;
  /** The user that may log in. */
  readonly user: string;
  /** The private key that is let in. */
  readonly identity: string;
  /** One that is not. */
  readonly strangerIdentity: string;
  /** `SHA256:…` of the host's key. */
  readonly fingerprint: string;
  /** A file of trusted keys that names this host. */
  readonly knownHosts: string;
  /** One that gives this host another key. */
  readonly wrongKnownHosts: string;
  /** The server's process; those of its sessions are its children. */
  readonly pid: () => number;
  /** Starts it again, on the same port, after it was killed. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it. Needs root, as sshd does. */
export async function startSshd(options: SshdOptions): Promise<Found<Sshd>> {
  if (!isRoot()) return missing("sshd lets others in only as root", "run the tests as root");
  const sshd = await ensureBinary("sshd", ["openssh-server"], options);
  if (!sshd.ok) return sshd;
  const keygen = await ensureBinary("ssh-keygen", ["openssh-client"], options);
  if (!keygen.ok) return keygen;
  return await attempt("see that sshd can run from the temp folder", () =>
    start(sshd.value, keygen.value, options),
  );
}

async function start(sshd: string, keygen: string, options: SshdOptions): Promise<Sshd> {
  const folder = await tempDir("sshd");
  const at = (name: string) => join(folder.path, name);
  const limit = { timeoutMs: commandLimitMs };
  for (const name of ["host", "other-host", "user", "stranger"]) {
    await run(keygen, ["-q", "-t", "ed25519", "-N", "", "-f", at(name)], limit);
  }
  await writeFile(at("authorized"), await readFile(at("user.pub")));
  const port = await freePort();
  const name = `[127.0.0.1]:${port}`;
  const keyOf = async (file: string) => (await readFile(at(file), "utf8")).trim();
  await writeFile(at("known"), `${name} ${await keyOf("host.pub")}\n`);
  await run(keygen, ["-q", "-H", "-f", at("known")], limit);
  await writeFile(at("wrong"), `${name} ${await keyOf("other-host.pub")}\n`);
  const environment = [`HOME=${options.home}`, ...(options.path ? [`PATH=${options.path}`] : [])];
  const config = [
    ...[`Port ${port}`, "ListenAddress 127.0.0.1", `HostKey ${at("host")}`, "PidFile none"],
    ...[`AuthorizedKeysFile ${at("authorized")}`, "StrictModes no", "UsePAM no"],
    ...["PasswordAuthentication no", "PermitRootLogin prohibit-password", "PrintMotd no"],
    ...["Subsystem sftp internal-sftp", `SetEnv ${environment.join(" ")}`, "MaxStartups 100"],
  ];
  await writeFile(at("config"), `${config.join("\n")}\n`);
  await mkdir("/run/sshd", { recursive: true, mode: 0o755 });
  const launch = () =>
    startChild(sshd, ["-D", "-e", "-f", at("config")], {
      logPath: at("log"),
      ready: () => answers(port),
      readyTimeoutMs: readyLimitMs,
    });
  let child: Child = await launch();
  const shown = await run(keygen, ["-l", "-f", at("host.pub")], limit);
  return {
    port,
    user: (await run("id", ["-un"], limit)).trim(),
    identity: at("user"),
    strangerIdentity: at("stranger"),
    fingerprint: /SHA256:\S+/.exec(shown)?.[0] ?? "",
    knownHosts: at("known"),
    wrongKnownHosts: at("wrong"),
    pid: () => child.pid,
    async restart() {
      await child.stop().catch(() => {});
      child = await launch();
    },
    async stop() {
      await child.stop().catch(() => {});
      await folder.remove();
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, "127.0.0.1");
    socket.once("data", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
