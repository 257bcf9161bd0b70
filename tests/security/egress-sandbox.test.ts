/** A real sandbox with a network policy: what its programs reach, and all that they do not. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import { findBinary } from "../../scripts/parts/debian.ts";
import { ProcessDriver } from "../../services/vm/drivers/process/process-driver.ts";
import { Bed } from "../vm/bed.ts";
import { EgressBed, type TestHost } from "../vm/egress/bed.ts";

/** Each is one attempt to get out; it prints `out NAME` where it does, `in NAME` where it does not. */
const attempts = `
import errno, os, socket, struct, sys
def attempt(name, work):
    try:
        work()
        print("out", name)
    except OSError as error:
        print("in", name)
def tcp(family, address):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(3)
    s.connect(address)
def udp(family, address):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(3)
    s.sendto(b"\\x12\\x34\\x01\\0\\0\\1\\0\\0\\0\\0\\0\\0\\6secret\\7example\\0\\0\\1\\0\\1", address)
def raw(kind, protocol):
    s = socket.socket(socket.AF_INET, kind, protocol)
    s.sendto(b"\\x08\\0\\xf7\\xff\\0\\0\\0\\0", ("8.8.8.8", 0))
host = sys.argv[1]
port = int(sys.argv[2])
attempt("dns by libc", lambda: socket.getaddrinfo("api.example", 443))
attempt("dns to a resolver", lambda: udp(socket.AF_INET, ("8.8.8.8", 53)))
attempt("dns over tcp", lambda: tcp(socket.AF_INET, ("8.8.8.8", 53)))
attempt("dns to the host", lambda: udp(socket.AF_INET, (host, 53)))
attempt("metadata", lambda: tcp(socket.AF_INET, ("169.254.169.254", 80)))
attempt("ipv6", lambda: tcp(socket.AF_INET6, ("2606:4700:4700::1111", 443)))
attempt("multicast", lambda: udp(socket.AF_INET, ("224.0.0.251", 5353)))
attempt("the host", lambda: tcp(socket.AF_INET, (host, port)))
attempt("the host's loopback", lambda: tcp(socket.AF_INET, ("127.0.0.1", port)))
attempt("icmp", lambda: raw(socket.SOCK_DGRAM, socket.IPPROTO_ICMP))
attempt("raw icmp", lambda: raw(socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt("raw packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).send(b"x" * 60))
def abstract():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.connect("\\0" + "devmesh-test-" + str(port))
attempt("an abstract socket of the host", abstract)
`;

/** The port is there by the driver's hand, or by this one. */
const bridge =
  "socat TCP-LISTEN:3128,bind=127.0.0.1,fork,reuseaddr UNIX-CONNECT:/run/devmesh/egress.sock 2>/dev/null & ";
const curl = "curl -sS --retry 20 --retry-connrefused --retry-delay 1 --max-time 20";

describe("a sandbox with a network policy", function () {
  this.timeout(60_000);
  let bed: Bed;
  let hosts: EgressBed;
  let host: TestHost;
  let folder: string;
  let driver: ProcessDriver;

  before(async function () {
    folder = await mkdtemp(join(tmpdir(), "dm-egress-"));
    driver = new ProcessDriver({ stateDir: folder });
    const { available, reason, remedy } = await driver.probe();
    const missing = ["curl", "socat", "python3"].filter((name) => findBinary(name) === undefined);
    const why = missing.length > 0 ? `there is no ${missing.join(", ")}` : `${reason}; ${remedy}`;
    if (available && missing.length === 0) return;
    console.log(`      skipped: ${why}`);
    this.skip();
  });
  after(() => rm(folder, { recursive: true, force: true }));
  beforeEach(async () => {
    bed = await Bed.open();
    hosts = await EgressBed.open();
    host = await hosts.tlsHost("api.example");
    const caFile = join(hosts.folder, "ca.pem");
    await writeFile(caFile, hosts.ca);
    const secretsFile = join(hosts.folder, "secrets.json");
    await writeFile(
      secretsFile,
      JSON.stringify({ KEY: { value: secret, hosts: ["api.example"] } }),
      { mode: 0o600 },
    );
    bed.startReal(driver, 1_000, {
      ...{ allowPrivate: ["127.0.0.0/8"], caFile, secretsFile },
      resolve: async (name) => hosts.names.get(name) ?? [],
    });
  });
  afterEach(async () => {
    await bed.close();
    await hosts.close();
  });

  const secret = "canary-of-the-host-5f1e";
  const submit = (script: string, ...rest: string[]) =>
    bed.submit({
      work: { case: "command", value: { argv: ["sh", "-c", script, "sh", ...rest] } },
      network: {
        allow: [
          {
            ...{ host: "api.example", port: host.port, paths: ["/ok/"] },
            secrets: [{ header: "x-key", secret: "KEY" }],
          },
        ],
      },
    });
  const lines = async (id: string) => (await bed.log(id)).trim().split("\n");

  it("reaches what is allowed by an unmodified client, and is told why the rest is not", async () => {
    const at = `https://api.example:${host.port}`;
    const id = await submit(
      `${bridge}${curl} ${at}/ok/1; echo; ` +
        `${curl} -w ' %{http_code}\\n' -o /dev/null ${at}/no; ` +
        `${curl} -o /dev/null -w '%{http_connect}\\n' https://evil.example/ 2>/dev/null; ` +
        `${curl} -o /dev/null -w '%{http_connect}\\n' https://169.254.169.254/ 2>/dev/null; true`,
    );
    const { status } = await bed.ended(id);
    expect(status, await bed.log(id)).to.equal(JobStatus.SUCCEEDED);
    expect(await lines(id)).to.deep.equal(["hello", " 403", "403", "403"]);
    expect(host.seen).to.have.length(1);
    expect(host.seen[0]?.headers["x-key"]).to.equal(secret);
    const notes = (await bed.events(id)).flatMap(({ kind }) =>
      kind.case === "note" && kind.value.topic === "egress" ? [kind.value.message] : [],
    );
    expect(notes.join("\n")).to.match(/\/no \(PATH_NOT_ALLOWED\)/);
    expect(notes.join("\n")).to.match(/evil\.example:443 \(NOT_ALLOWED\)/);
    expect(notes.join("\n")).to.match(/169\.254\.169\.254:443 \(BAD_HOST\)/);
  });

  it("has no way out but the proxy: no resolver, no address, no raw packet", async () => {
    const own = Object.values(networkInterfaces())
      .flatMap((found) => found ?? [])
      .find(({ family, internal }) => family === "IPv4" && !internal)?.address;
    const script = `cat > a.py; /usr/bin/env python3 a.py ${own ?? "10.0.0.1"} ${host.port}`;
    const id = await submit(`printf '%s' "$1" | (${script})`, attempts);
    const { status } = await bed.ended(id);
    expect(status, await bed.log(id)).to.equal(JobStatus.SUCCEEDED);
    const found = await lines(id);
    expect(found).to.have.length(13);
    expect(found.filter((line) => !line.startsWith("in "))).to.deep.equal([]);
    expect(host.connections.size).to.equal(0);
  });

  it("never holds the host's secret: not in a variable, a file, its log, its events, its audit", async () => {
    host.onRequest = (req, res) => res.end(`you sent ${req.headers["x-key"]}`);
    const at = `https://api.example:${host.port}`;
    const id = await submit(
      `${bridge}${curl} ${at}/ok/echo; echo; env; ` +
        `cat /opt/devmesh/egress/* /proc/self/environ /proc/1/environ 2>/dev/null | tr '\\0' '\\n'; ` +
        "grep -rs canary-of /work /tmp /opt /run /etc 2>/dev/null; true",
    );
    await bed.ended(id);
    const log = await bed.log(id);
    expect(log)
      .to.contain(`you sent ${"*".repeat(secret.length)}`)
      .and.contain("BEGIN CERTIFICATE");
    expect(log).to.not.contain(secret);
    const events = await bed.events(id);
    const { events: rows } = await bed.audit.listAuditEvents({ pageSize: 500 });
    const shown = JSON.stringify([events, rows, await bed.job(id)], (_key, value: unknown) =>
      typeof value === "bigint" ? String(value) : value,
    );
    expect(shown).to.contain("egress.allow").and.not.contain(secret);
  });
});
