/** A connection to another machine over ssh: its key is checked, commands run, files put there. */
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { DevmeshError } from "@devmesh/mesh/errors";
import { Client, type ConnectConfig, type SFTPWrapper } from "ssh2";
import { fingerprintOf, judgeKey } from "./known-hosts.ts";

/** Which machine, and as whom. */
export interface SshTarget {
  readonly user: string;
  readonly host: string;
  readonly port: number;
  /** Private keys in the form of OpenSSH or PEM. Tried before the agent. */
  readonly privateKey?: Buffer;
  /** The socket of an ssh-agent. */
  readonly agent?: string;
  /** The user's files of trusted keys. */
  readonly knownHosts: readonly string[];
  /** `SHA256:…` of the one key that is taken from a host that the files do not know. */
  readonly acceptKey?: string;
}

/** How a command ended. */
export interface SshExit {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const limits = { connectMs: 20_000, keepaliveMs: 5_000, keepaliveCount: 3, commandMs: 120_000 };

/** A connection that is open. */
export class SshHost {
  readonly #client: Client;
  /** Rejects when the connection is gone. */
  readonly #gone: Promise<never>;

  private constructor(client: Client) {
    this.#client = client;
    this.#gone = new Promise((_, reject) => {
      client.once("close", () => reject(lost()));
    });
    // Who waits for something hears of it; an idle connection may close.
    this.#gone.catch(() => {});
    client.on("error", () => {});
  }

  /**
   * Connects. Throws UNAVAILABLE if nobody answers, POLICY_REFUSED for a host's
   * key that is not trusted, UNAUTHENTICATED if the host refuses the user's.
   */
  static async connect(target: SshTarget): Promise<SshHost> {
    const client = new Client();
    let refusal: DevmeshError | undefined;
    const config: ConnectConfig = {
      host: target.host,
      port: target.port,
      username: target.user,
      readyTimeout: limits.connectMs,
      keepaliveInterval: limits.keepaliveMs,
      keepaliveCountMax: limits.keepaliveCount,
      hostVerifier: (key: Buffer) => {
        refusal = judge(target, key);
        return refusal === undefined;
      },
      ...(target.privateKey && { privateKey: target.privateKey }),
      ...(target.agent && { agent: target.agent }),
    };
    try {
      const ready = once(client, "ready");
      client.connect(config);
      await ready;
      return new SshHost(client);
    } catch (error) {
      client.end();
      throw refusal ?? describe(target, error);
    }
  }

  /** Runs a shell script given on its standard input; its words never show up in a list of processes. */
  async run(script: string): Promise<SshExit> {
    return await this.#bound(
      new Promise<SshExit>((resolve, reject) => {
        this.#client.exec("sh -s", (error, channel) => {
          if (error) return reject(error);
          const texts = { out: "", err: "" };
          let code = -1;
          channel.on("data", (chunk: Buffer) => {
            texts.out += chunk.toString();
          });
          channel.stderr.on("data", (chunk: Buffer) => {
            texts.err += chunk.toString();
          });
          channel.on("exit", (status: number | null) => {
            code = status ?? -1;
          });
          channel.on("error", reject);
          channel.on("close", () => resolve({ code, ...texts }));
          channel.end(script);
        });
      }),
      limits.commandMs,
    );
  }

  /** Copies a file. */
  async putFile(path: string, to: string, mode: number, signal: AbortSignal) {
    await this.#withSftp(async (sftp) => {
      const target = sftp.createWriteStream(to, { mode, flags: "wx" });
      const source = createReadStream(path, { highWaterMark: 128 * 1024 });
      await pipeline(source, target, { signal });
    });
  }

  /** Writes a file that has this mode from its first byte on. */
  async putText(text: string, to: string, mode: number) {
    await this.#withSftp(async (sftp) => {
      const target = sftp.createWriteStream(to, { mode, flags: "wx" });
      await pipeline([Buffer.from(text)], target);
    });
  }

  /** Closes the connection. */
  close(): void {
    this.#client.end();
  }

  async #withSftp(work: (sftp: SFTPWrapper) => Promise<void>): Promise<void> {
    const sftp = await this.#bound(
      new Promise<SFTPWrapper>((resolve, reject) => {
        this.#client.sftp((error, sftp) => (error ? reject(error) : resolve(sftp)));
      }),
      limits.commandMs,
    );
    try {
      await this.#bound(work(sftp));
    } finally {
      sftp.end();
    }
  }

  /** The promise's value, unless the connection goes first, or time is over. */
  async #bound<T>(work: Promise<T>, limitMs?: number): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late =
      limitMs === undefined
        ? []
        : [
            new Promise<never>((_, reject) => {
              timer = setTimeout(() => reject(lost()), limitMs);
            }),
          ];
    try {
      return await Promise.race([work, this.#gone, ...late]);
    } finally {
      clearTimeout(timer);
      // The one that lost the race may still fail.
      work.catch(() => {});
    }
  }
}

function judge(
  { host, port, knownHosts, acceptKey }: SshTarget,
  key: Buffer,
): DevmeshError | undefined {
  const verdict = judgeKey(knownHosts, host, port, key);
  const fingerprint = fingerprintOf(key);
  if (verdict === "known") return undefined;
  if (verdict === "unknown" && acceptKey === fingerprint) return undefined;
  const metadata = { field: "host key", fingerprint };
  const text = {
    unknown: `the key of ${host} is not known (${fingerprint}): compare it on that machine, then add --accept-host-key ${fingerprint}`,
    changed: `the key of ${host} is not the one in known_hosts (it shows ${fingerprint}): somebody may stand between; if the machine was set up anew, remove the old key with ssh-keygen -R`,
    revoked: `the key of ${host} is revoked in known_hosts (${fingerprint})`,
  }[verdict];
  return new DevmeshError("POLICY_REFUSED", text, { metadata });
}

function describe({ user, host, port }: SshTarget, error: unknown): DevmeshError {
  const text = error instanceof Error ? error.message : String(error);
  const isAuth =
    error instanceof Error && "level" in error && error.level === "client-authentication";
  if (isAuth) {
    return new DevmeshError(
      "UNAUTHENTICATED",
      `${host} refuses ${user}: none of the keys is taken; name one with --identity`,
      { cause: error },
    );
  }
  return new DevmeshError("UNAVAILABLE", `ssh to ${host}:${port} fails: ${text}`, { cause: error });
}

function lost(): DevmeshError {
  return new DevmeshError("UNAVAILABLE", "the ssh connection was lost");
}
