/** A private network on a real engine: containers find each other by name, and reach nothing else. */
import { execFile } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { parse } from "yaml";
import { findBinary } from "../../scripts/parts/debian.ts";
import { ensureBaseImage, startDocker } from "../../scripts/parts/docker.ts";
import { log, need } from "../parts/need.ts";

const run = promisify(execFile);
const composePath = join(import.meta.dirname, "..", "..", "deploy", "compose.yaml");

/** Answers every connection with one line. */
const listener =
  "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 7000, Listen => 5, ReuseAddr => 1) or die; " +
  '$| = 1; print "ready\\n"; while (my $c = $s->accept) { print $c "hello\\n"; close $c }';

/** Prints what a TCP connection says, or `nothing`. */
const dial = (host: string, port: number) =>
  `timeout 3 bash -c 'exec 3<>/dev/tcp/${host}/${port} && head -n1 <&3' 2>/dev/null || echo nothing`;

describe("the private network", function () {
  this.timeout(300_000);
  const id = randomBytes(4).toString("hex");
  const network = `devmesh-test-net-${id}`;
  const names = [`mcp-${id}`, `api-${id}`, `out-${id}`];
  let docker: (...args: string[]) => Promise<string>;
  let stop = async () => {};
  /** Listens on every address of this machine. */
  let host: Server;

  before(async function () {
    const engine = need(this, await startDocker({ log }));
    stop = engine.stop;
    const { image } = need(this, await ensureBaseImage(engine.socketPath, { log }));
    const client = findBinary("docker") ?? "docker";
    docker = async (...args) =>
      (await run(client, ["-H", `unix://${engine.socketPath}`, ...args])).stdout.trim();
    const file = parse(readFileSync(composePath, "utf8"), { merge: true });
    const options = Object.entries(file.networks.private.driver_opts).flatMap(([name, value]) => [
      ...["--opt", `${name}=${value}`],
    ]);
    const label = ["--label", "devmesh.test=network"];
    // Of its own: rules that a dead engine left for its default range would rewrite addresses.
    const range = `10.${214 + randomInt(40)}.${randomInt(256)}`;
    const subnet = ["--subnet", `${range}.0/24`, "--gateway", `${range}.1`];
    await docker("network", "create", "--internal", ...label, ...subnet, ...options, network);
    host = createServer((socket) => socket.end("hello\n"));
    await new Promise<void>((resolve) => host.listen(0, "0.0.0.0", resolve));
    const hardened = ["--read-only", "--cap-drop", "ALL", "--user", "1000:1000", "--init"];
    const start = (name: string, alias: string, ...command: string[]) =>
      docker(
        ...["run", "-d", "--name", name, "--network", network, "--network-alias", alias],
        ...["--label", "devmesh.test=network", ...hardened, image, ...command],
      );
    await start(names[0] ?? "", "mcp", "perl", "-e", listener);
    await start(names[1] ?? "", "api", "sleep", "600");
    await docker(
      ...["run", "-d", "--name", names[2] ?? "", "--network", "none", ...hardened],
      ...["--label", "devmesh.test=network", image, "sleep", "600"],
    );
  });

  after(async () => {
    await new Promise((resolve) => (host ? host.close(resolve) : resolve(undefined)));
    for (const name of names) await docker?.("rm", "-f", name).catch(() => {});
    await docker?.("network", "rm", network).catch(() => {});
    await stop();
  });

  const inside = (script: string, name = names[1] ?? "") =>
    docker("exec", name, "bash", "-c", script);

  it("lets a service find another by its name, and talk to it", async () => {
    const until = `for i in $(seq 50); do r=$(${dial("mcp", 7000)}); [ "$r" = hello ] && break; sleep 0.2; done; echo $r`;
    expect(await inside(until)).to.equal("hello");
    expect(await inside("getent hosts mcp")).to.match(/^\d+\.\d+\.\d+\.\d+ +mcp/);
  });

  it("lets nobody in it reach anything else: no address, no name, no host, no metadata", async () => {
    const { port } = host.address() as AddressInfo;
    const own = Object.values(networkInterfaces())
      .flatMap((found) => found ?? [])
      .filter(({ family, internal }) => family === "IPv4" && !internal)
      .map(({ address }) => address);
    const gateway = await docker(
      ...["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", network],
    );
    expect(gateway).to.match(/^\d+\./);
    for (const [address, at] of [
      ...([
        ["8.8.8.8", 53],
        ["1.1.1.1", 443],
        ["169.254.169.254", 80],
      ] as const),
      ...[gateway, ...own].map((address) => [address, port] as const),
    ]) {
      expect(await inside(dial(address, at)), `${address}:${at}`).to.equal("nothing");
    }
    expect(await inside("getent hosts devmesh.dev || echo unknown")).to.equal("unknown");
  });

  it("is not reached by who is not in it", async () => {
    expect(await inside(dial("mcp", 7000), names[2])).to.equal("nothing");
    expect(await inside("getent hosts mcp || echo unknown", names[2])).to.equal("unknown");
  });

  it("publishes nothing to the host", async () => {
    const found = await docker("inspect", "-f", "{{json .NetworkSettings.Ports}}", names[0] ?? "");
    expect(JSON.parse(found)).to.deep.equal({});
  });
});
