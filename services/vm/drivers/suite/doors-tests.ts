/** Doors: ways out by socket and by port, several at once, and what a sandbox cannot do to them. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { SandboxDoor } from "../driver.ts";
import { needs, perl, refusedField, type SuiteContext, suiteSpec } from "./harness.ts";

/** Connects to the path or port `$ARGV[0]`, sends `$ARGV[1]`, and prints the whole answer. */
const talk = `
use IO::Socket::UNIX; use IO::Socket::INET;
my ($to, $words) = @ARGV;
my $s = $to =~ /^\\d+$/ ? IO::Socket::INET->new("127.0.0.1:$to") : IO::Socket::UNIX->new($to);
if (!$s) { print "refused"; exit }
print $s $words; $s->flush; shutdown $s, 1; print <$s>;
`;

/** Sends `$ARGV[1]` bytes to the socket `$ARGV[0]` and prints how many came back and their sum. */
const mirror = `
use IO::Socket::UNIX;
my ($to, $size) = @ARGV;
my $s = IO::Socket::UNIX->new($to) or die $!;
if (!fork) { my $left = $size; my $data = "x" x 65536;
  while ($left > 0) { my $n = syswrite $s, $data, $left < 65536 ? $left : 65536; die $! if !defined $n; $left -= $n }
  shutdown $s, 1; exit }
my ($sum, $data) = (0);
while (my $n = sysread $s, $data, 65536) { $sum += $n; die "other bytes" if $data =~ /[^x]/ }
wait; print $sum;
`;

/** Opens `$ARGV[1]` connections to the socket `$ARGV[0]`, keeps them, and says so. */
const crowd = `
use IO::Socket::UNIX; $| = 1;
my ($to, $count) = @ARGV; my @all;
for (1 .. $count) { my $s = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $to, Timeout => 1) or last; push @all, $s }
print "open\\n"; sleep 600;
`;

/** Defines the tests of `SandboxSpec.doors`. */
export function doorTests(context: SuiteContext): void {
  describe("doors", () => {
    let folder: string;
    const servers: Server[] = [];
    const sockets = new Set<Socket>();

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), "devmesh-doors-"));
    });

    const closeAll = async () => {
      for (const socket of sockets) socket.destroy();
      await Promise.all(servers.splice(0).map(close));
    };

    after(async () => {
      await closeAll();
      await rm(folder, { recursive: true, force: true });
    });

    /** A host's socket whose connections go to `serve`. */
    const listen = async (name: string, serve: (socket: Socket) => void): Promise<string> => {
      const socketPath = join(folder, `${name}-${servers.length}.sock`);
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        sockets.add(socket.once("close", () => sockets.delete(socket)));
        serve(socket);
      });
      servers.push(server);
      server.listen(socketPath);
      await once(server, "listening");
      return socketPath;
    };
    const answering = (name: string) =>
      listen(name, (socket) => {
        let text = "";
        socket.on("data", (data) => (text += data));
        socket.on("end", () => socket.end(`${name} heard ${text}`));
        socket.on("error", () => {});
      });

    it("leads each door to its own socket, by name and by port", async function () {
      needs(context, "network", this);
      const doors: SandboxDoor[] = [
        { name: "backend", socketPath: await answering("backend"), port: 18_080 },
        { name: "egress", socketPath: await answering("egress"), port: 18_081 },
      ];
      const sandbox = await context.subject().driver.create(suiteSpec({ doors }));
      for (const { name, port } of doors) {
        for (const to of [`/run/devmesh/${name}.sock`, String(port)]) {
          const { text, stderr } = await perl(sandbox, talk, [to, `hi ${to}`]);
          expect(text, stderr.toString()).to.equal(`${name} heard hi ${to}`);
        }
      }
      expect((await perl(sandbox, talk, ["18082", "x"])).text).to.equal("refused");
    });

    it("opens no port that was not asked for", async function () {
      needs(context, "network", this);
      const doors = [{ name: "backend" as const, socketPath: await answering("backend") }];
      const sandbox = await context.subject().driver.create(suiteSpec({ doors }));
      expect((await perl(sandbox, talk, ["/run/devmesh/backend.sock", "x"])).text).to.equal(
        "backend heard x",
      );
      for (const to of ["/run/devmesh/egress.sock", "18080", "80"]) {
        expect((await perl(sandbox, talk, [to, "x"])).text, to).to.equal("refused");
      }
    });

    it("carries megabytes both ways at once", async function () {
      needs(context, "network", this);
      const hash = createHash("sha256");
      const socketPath = await listen("mirror", (socket) => {
        socket.on("data", (data) => hash.update(data));
        socket.pipe(socket);
        socket.on("error", () => {});
      });
      const doors = [{ name: "backend" as const, socketPath }];
      const sandbox = await context.subject().driver.create(suiteSpec({ doors }));
      const size = 6_000_000;
      const { text, stderr } = await perl(sandbox, mirror, [
        "/run/devmesh/backend.sock",
        String(size),
      ]);
      expect(text, stderr.toString()).to.equal(String(size));
      const wanted = createHash("sha256").update(Buffer.alloc(size, "x")).digest("hex");
      expect(hash.digest("hex")).to.equal(wanted);
    });

    it("bounds the connections of a sandbox, which stays usable", async function () {
      needs(context, "network", this);
      let most = 0;
      let open = 0;
      const socketPath = await listen("crowd", (socket) => {
        most = Math.max(most, ++open);
        socket.on("error", () => {}).on("close", () => open--);
        socket.resume();
      });
      const doors = [{ name: "backend" as const, socketPath }];
      const sandbox = await context.subject().driver.create(suiteSpec({ doors }));
      const running = await sandbox.exec({
        argv: ["perl", "-we", crowd, "/run/devmesh/backend.sock", "120"],
        env: {},
      });
      for await (const { data } of running.output()) if (data.includes("open")) break;
      expect((await perl(sandbox, "print 'well'")).text).to.equal("well");
      expect(most).to.be.within(1, 64);
      await running.signal("SIGKILL");
      expect((await running.exit).exitCode).to.equal(137);
      expect((await perl(sandbox, "print 'well'")).text).to.equal("well");
    });

    it("survives a host that is not there any more", async function () {
      needs(context, "network", this);
      const socketPath = await answering("leaver");
      const doors = [{ name: "backend" as const, socketPath }];
      const sandbox = await context.subject().driver.create(suiteSpec({ doors }));
      await closeAll();
      const { text } = await perl(sandbox, talk, ["/run/devmesh/backend.sock", "x"]);
      expect(text).to.equal("");
      expect((await perl(sandbox, "print 'well'")).text).to.equal("well");
    });

    it("refuses a door that comes twice and a port that is none", async () => {
      const { driver } = context.subject();
      const door = { name: "backend" as const, socketPath: await answering("twice") };
      const bad = [[door, door], ...[0, 80, 65_536, 1.5].map((port) => [{ ...door, port }])];
      for (const doors of bad) {
        const call = driver.create(suiteSpec({ doors }));
        expect(await refusedField(call), JSON.stringify(doors)).to.equal("doors");
      }
      expect(driver.list()).to.deep.equal([]);
    });
  });
}

async function close(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  await closed;
}
