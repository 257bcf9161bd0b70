/** Owns the options with which `runner install` and `uninstall` name another machine. */
import { readFileSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { join } from "node:path";
import type { Args, OptionTable } from "./args.ts";
import type { CommandContext } from "./command.ts";
import { UsageError } from "./usage-error.ts";

/** A machine, and how ssh gets in. */
export interface SshOptions {
  readonly user: string;
  readonly host: string;
  readonly port: number;
  readonly privateKey?: Buffer;
  readonly agent?: string;
  readonly knownHosts: readonly string[];
  readonly acceptKey?: string;
}

/** The options. */
export const sshOptions: OptionTable = {
  port: { value: "N", help: "the port of its sshd (default: 22)" },
  identity: {
    value: "FILE",
    short: "i",
    help: "the private key (default: the ssh-agent, then ~/.ssh/id_ed25519, id_ecdsa, id_rsa)",
  },
  "accept-host-key": {
    value: "SHA256:…",
    help: "take this key from a machine that known_hosts does not name",
  },
  "known-hosts": { value: "FILE", help: "keys that are trusted (default: ~/.ssh/known_hosts)" },
};

const ownKeys = ["id_ed25519", "id_ecdsa", "id_rsa"];

/** What the options and the word USER@HOST say. Throws `UsageError`. */
export function readSsh(args: Args, env: CommandContext["env"]): SshOptions {
  const [word = ""] = args.words("USER@HOST");
  const [, user = userInfo().username, named] =
    /^(?:([^@\s]+)@)?([^@\s/]*[^@\s/:])$/.exec(word) ?? [];
  if (named === undefined || named.startsWith("-")) {
    throw new UsageError(`${JSON.stringify(word)} is not USER@HOST`);
  }
  const { host, port } = withoutPort(named);
  if (port !== undefined) {
    throw new UsageError(
      `${JSON.stringify(word)} has a port in it`,
      `name it apart: ${word.slice(0, -port.length - 1)} --port ${port}`,
    );
  }
  const acceptKey = args.text("accept-host-key");
  if (acceptKey !== undefined && !/^SHA256:[A-Za-z0-9+/]{43}$/.test(acceptKey)) {
    throw new UsageError(
      `--accept-host-key: ${JSON.stringify(acceptKey)} is no fingerprint`,
      "on that machine: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
    );
  }
  const keys = args.text("known-hosts");
  return {
    ...{ user, host, port: args.integer("port", 1, 65_535) ?? 22 },
    knownHosts:
      keys === undefined
        ? [join(homedir(), ".ssh", "known_hosts"), "/etc/ssh/ssh_known_hosts"]
        : [keys],
    ...keysOf(args, env),
    ...(acceptKey !== undefined && { acceptKey }),
  };
}

/** An IPv6 address has more than one colon, and stands in brackets where a port follows. */
function withoutPort(named: string): { readonly host: string; readonly port?: string } {
  const [, address, behind] = /^\[([^\]]*)\](?::(\d+))?$/.exec(named) ?? [];
  if (address !== undefined) {
    return { host: address, ...(behind !== undefined && { port: behind }) };
  }
  const [, host, port] = /^([^:]+):(\d+)$/.exec(named) ?? [];
  return host === undefined || port === undefined ? { host: named } : { host, port };
}

function keysOf(args: Args, env: CommandContext["env"]): Pick<SshOptions, "privateKey" | "agent"> {
  const file = args.text("identity");
  if (file !== undefined) return { privateKey: readKey(file) };
  if (env.SSH_AUTH_SOCK) return { agent: env.SSH_AUTH_SOCK };
  for (const name of ownKeys) {
    try {
      return { privateKey: readFileSync(join(homedir(), ".ssh", name)) };
    } catch {
      // The next one may be there.
    }
  }
  throw new UsageError("no key to log in with", "name one with --identity, or start an ssh-agent");
}

function readKey(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch {
    throw new UsageError(`--identity: ${file} cannot be read`);
  }
}
