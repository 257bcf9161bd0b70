/**
 * The hosts, the names and the policy of sandboxes that have a way out: one open host, and
 * others that no request may reach. How a sandbox gets to them is left to its target.
 */
import { writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import {
  type NetworkPolicy,
  NetworkPolicySchema,
} from "@devmesh/gen/devmesh/api/v1/network_policy_pb";
import type { EgressHostOptions } from "@devmesh/vm/egress";

/** Where the open host is. The operator has opened this range, and nothing else of the loopback. */
const openAddress = "127.77.0.1";
const shutAddress = "127.0.0.1";

/** The domain of all names; a name server of the world answers for it. */
const domain = "attack.example";

/** What the open host answers: by it an attempt knows that it has a way out at all. */
const openAnswer = "way-is-open";

/** What the policy allows of the open host. */
const allowedLine = /^GET \/ok\/[\w/-]* HTTP\/1\.1\r?$/gm;

/** What is heard on one connection, in bytes. */
const maxHeard = 64 * 1024;

/** What a way out needs of the world. */
export interface WayOutOptions {
  /** For the file of the proxy's secrets. */
  readonly folder: string;
  /** The value of the one secret. */
  readonly secret: string;
  /** What a host that must not be reached answers. */
  readonly answer: string;
  /** Hears what reached a host, or was asked of a name server, beyond what the policy allows. */
  readonly onVisit: (text: string) => void;
}

/** The world of one egress policy. */
export class WayOut {
  readonly #options: WayOutOptions;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  #plainPort = 0;
  #tlsPort = 0;
  #otherPort = 0;
  #rebound = 0;

  private constructor(options: WayOutOptions) {
    this.#options = options;
  }

  /** Listens. The open host and what lies behind it have the same ports on two addresses. */
  static async open(options: WayOutOptions): Promise<WayOut> {
    const way = new WayOut(options);
    try {
      const shut = (port = 0) => way.#listen(shutAddress, port, (socket) => way.#shut(socket));
      way.#plainPort = await shut();
      way.#tlsPort = await shut();
      await way.#listen(openAddress, way.#plainPort, (socket) => way.#openPlain(socket));
      await way.#listen(openAddress, way.#tlsPort, (socket) => way.#openTls(socket));
      way.#otherPort = await way.#listen(openAddress, 0, (socket) => way.#shut(socket));
      const secrets = { ATTACK_KEY: { value: options.secret, hosts: [`keyed.${domain}`] } };
      writeFileSync(way.#secretsFile, JSON.stringify(secrets), { mode: 0o600 });
      return way;
    } catch (error) {
      await way.close();
      throw error;
    }
  }

  /** The value of the secret that the proxy puts in, for a fixture that hands it out. */
  get secret(): string {
    return this.#options.secret;
  }

  /** What the operator of the host says. */
  get host(): EgressHostOptions {
    return {
      allowPrivate: ["127.77.0.0/16"],
      secretsFile: this.#secretsFile,
      resolve: (name) => this.resolve(name),
    };
  }

  /** One open host; and names that the policy allows but whose addresses lead elsewhere. */
  get policy(): NetworkPolicy {
    const [plain, tls] = [this.#plainPort, this.#tlsPort];
    const paths = ["/ok/"];
    const rule = (name: string) => ({
      ...{ host: `${name}.${domain}`, port: plain, plainHttp: true },
      ...{ methods: ["GET"], paths },
    });
    return create(NetworkPolicySchema, {
      allow: [
        ...["open", "private", "mapped", "mixed", "rebind"].map(rule),
        ...["open", "private", "mixed"].map((name) => ({ host: `${name}.${domain}`, port: tls })),
        { ...rule("metadata"), port: 80, methods: [], paths: [] },
        { ...rule("metadata6"), port: 80, methods: [], paths: [] },
        {
          ...{ host: `keyed.${domain}`, port: tls },
          secrets: [{ header: "authorization", secret: "ATTACK_KEY" }],
        },
      ],
    });
  }

  /** The same, mis-set: the whole loopback is opened, and every name of the domain without bounds. */
  get wide(): { readonly host: EgressHostOptions; readonly policy: NetworkPolicy } {
    const [plain, tls, other] = [this.#plainPort, this.#tlsPort, this.#otherPort];
    const all = { host: `*.${domain}` };
    const rules = [
      { ...all, port: plain, plainHttp: true },
      { ...all, port: tls },
      { ...all, port: other },
    ];
    const { allow } = create(NetworkPolicySchema, { allow: rules });
    return {
      host: { ...this.host, allowPrivate: ["127.0.0.0/8"] },
      policy: create(NetworkPolicySchema, { allow: [...this.policy.allow, ...allow] }),
    };
  }

  /** What an attacker is told. */
  clues(): Record<string, string> {
    return {
      WAY_PORT: String(this.#plainPort),
      WAY_TLS_PORT: String(this.#tlsPort),
      WAY_OTHER_PORT: String(this.#otherPort),
      WAY_SECRETS: this.#secretsFile,
      WAY_ANSWER: openAnswer,
    };
  }

  /** The world's name server. Throws for what is not of its domain. */
  async resolve(name: string): Promise<readonly string[]> {
    this.#options.onVisit(`a name server was asked for ${name}`);
    switch (name) {
      case `open.${domain}`:
      case `keyed.${domain}`:
        return [openAddress];
      case `metadata.${domain}`:
        return ["169.254.169.254"];
      case `metadata6.${domain}`:
        return ["fd00:ec2::254"];
      case `mapped.${domain}`:
        return [`::ffff:${shutAddress}`];
      case `mixed.${domain}`:
        return [openAddress, shutAddress];
      case `rebind.${domain}`:
        this.#rebound += 1;
        return [this.#rebound % 2 === 1 ? openAddress : shutAddress];
      default:
        if (name.endsWith(`.${domain}`)) return [shutAddress];
        throw new Error("no such name");
    }
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const closed = this.#servers.map(
      (server) => new Promise<void>((resolve) => server.close(() => resolve())),
    );
    await Promise.all(closed);
  }

  get #secretsFile(): string {
    return join(this.#options.folder, "egress-secrets.json");
  }

  async #listen(host: string, port: number, serve: (socket: Socket) => void): Promise<number> {
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => socket.destroy());
      socket.setTimeout(30_000, () => socket.destroy());
      serve(socket);
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host, port }, resolve);
    });
    this.#servers.push(server);
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  #shut(socket: Socket): void {
    let text = "";
    socket.on("data", (data) => {
      text = (text + data.toString("latin1")).slice(-4096);
      this.#visit("a host that the policy does not have", text);
      socket.end(`HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n${this.#options.answer}`);
    });
  }

  /** Answers every request, and tells of all that the policy does not allow. */
  #openPlain(socket: Socket): void {
    let text = "";
    let answered = 0;
    socket.on("data", (data) => {
      text += data.toString("latin1");
      this.#visit("the open host", text.replaceAll(allowedLine, ""));
      if (text.length > maxHeard) socket.destroy();
      const requests = text.split("\r\n\r\n").length - 1;
      for (; answered < requests; answered += 1) {
        const toRedirect = /GET \/ok\/redirect\/(\w+) /.exec(text)?.[1];
        const to = `http://${shutAddress}:${this.#plainPort}/ok/${toRedirect}`;
        const head = toRedirect === undefined ? "200 OK" : `302 Found\r\nlocation: ${to}`;
        socket.write(`HTTP/1.1 ${head}\r\ncontent-length: ${openAnswer.length}\r\n\r\n`);
        socket.write(openAnswer);
      }
    });
  }

  /** It needs no TLS of its own: what the first message says is all that is looked at. */
  #openTls(socket: Socket): void {
    let text = "";
    socket.on("data", (data) => {
      text = (text + data.toString("latin1")).slice(-16_384);
      this.#visit("the open host's TLS port", text);
      socket.write(openAnswer);
    });
  }

  #visit(where: string, text: string): void {
    this.#options.onVisit(`${where} got ${JSON.stringify(text.slice(0, 2_000))}`);
  }
}
