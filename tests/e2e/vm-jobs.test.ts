/** Jobs in virtual machines, end to end: files in and out, caps, no way out, ten in a row, a torn snapshot. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { JobStatus } from "../../sdk/ts/src/node.ts";
import { tempFolder } from "../sdk/temp-folder.ts";
import { HostileBed } from "./hostile-bed.ts";
import { placesFor } from "./sandbox-places.ts";

const mib = 1024 * 1024;

/** Says how each of these ends: an address of the world, a host's metadata, a name server. */
const reaches = `perl -MSocket -e '
  for my $where ("192.0.2.1:443", "169.254.169.254:80", "10.0.2.2:80", "10.0.2.3:53") {
    my ($host, $port) = split /:/, $where;
    socket(my $socket, PF_INET, SOCK_STREAM, 0) or next;
    print connect($socket, sockaddr_in($port, inet_aton($host))) ? "reached" : "refused", " $where\\n";
  }'`;

for (const place of placesFor("qemu")) {
  describe("a job in a virtual machine", function () {
    this.timeout(300_000);
    let bed: HostileBed | undefined;
    before(async function () {
      this.timeout(600_000);
      bed = await HostileBed.open(this, place);
    });
    after(() => bed?.close());

    const running = () => {
      if (bed === undefined) throw new Error("the platform does not run");
      return bed;
    };

    it("gets its files, gives them back, is held to its caps, reaches nothing, and leaves nothing", async () => {
      using folder = tempFolder({ in: "artifact" });
      const caps = ["--memory", "128m", "--disk", "32m", "--pids", "48", "--cpus", "0.5"];
      const { code, out, err } = await running().cli(
        ...["run", "--json", "--isolation", "vm", ...caps, "--workspace", folder.path, "--apply"],
        ...["--", "sh", "-c", `tr a-z A-Z <in >out; ${reaches}`],
      );
      expect(code, err).to.equal(0);
      const lines = out.trimEnd().split("\n");
      const rows = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
      const receipt = rows.find(({ topic }) => topic === "sandbox.receipt")?.payload as Record<
        string,
        { value: unknown; source: string }
      >;
      expect(receipt.memoryBytes?.value).to.equal(128 * mib);
      expect(receipt.pids?.value).to.equal(48);
      expect(receipt.cpuMillis?.value).to.equal(500);
      expect(receipt.diskBytes?.value).to.be.within(16 * mib, 32 * mib);
      expect(receipt.interfaces?.value).to.deep.equal(["lo"]);
      for (const name of ["memoryBytes", "pids", "cpuMillis", "diskBytes"]) {
        expect(receipt[name]?.source, name).to.match(/^guest:/);
      }
      const log = rows.filter(({ type }) => type === "log").map(({ text }) => text);
      expect(log.join("").match(/refused/g)).to.have.length(4);
      expect(log.join("")).to.not.include("reached");
      expect(rows.at(-1)).to.include({ driver: "qemu", isolation: "ISOLATION_VM" });
      expect(readFileSync(join(folder.path, "out"), "utf8")).to.equal("ARTIFACT");
      await running().expectNothingLeft();
    });

    it("is ten times in a row a machine of its own with a right clock", async () => {
      const machines = new Set<string>();
      for (let turn = 0; turn < 10; turn++) {
        const from = Date.now();
        const { result, log } = await running().shell(
          "cat /etc/machine-id; date +%s.%N; ls -A /work | wc -l; echo mine > left",
          place.small,
        );
        const to = Date.now();
        expect(result.outcome, result.message).to.equal(JobStatus.SUCCEEDED);
        const [machine = "", date = "", files = ""] = log.toString().split("\n");
        expect(machine).to.match(/^[0-9a-f]{32}$/);
        expect(Number(date) * 1000).to.be.within(from - 1000, to + 1000);
        expect(files.trim()).to.equal("0");
        machines.add(machine);
      }
      expect(machines.size).to.equal(10);
      await running().expectNothingLeft();
    });

    it("starts from a new snapshot where the one on disk was torn", async () => {
      const snapshots = join(running().dataDir, "vm", "snapshots");
      await running().restart("qemu", () => {
        for (const name of readdirSync(snapshots).filter((entry) => !entry.startsWith("."))) {
          const memory = join(snapshots, name, "memory");
          const bytes = readFileSync(memory);
          bytes.fill(0xff, mib, 2 * mib);
          writeFileSync(memory, bytes);
        }
      });
      const { result, log } = await running().shell("echo well", place.small);
      expect(result.outcome, result.message).to.equal(JobStatus.SUCCEEDED);
      expect(log.toString()).to.equal("well\n");
      await running().expectNothingLeft();
    });
  });
}
