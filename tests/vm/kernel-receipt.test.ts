/** What the kernel shows of a process is what it was started with. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { statfsSync } from "node:fs";
import { expect } from "chai";
import {
  parseInterfaces,
  processReceipt,
  readDiskReceipt,
  readDiskUse,
  readProcessReceipt,
} from "../../services/vm/drivers/kernel-receipt.ts";
import { parseMounts } from "../../services/vm/drivers/mount-table.ts";
import { descendants } from "../../services/vm/drivers/process-tree.ts";

describe("the kernel's own words of a process", function () {
  this.timeout(30_000);

  before(function () {
    if (process.platform !== "linux") this.skip();
  });

  it("show a process of this host as it is", async () => {
    const receipt = await readProcessReceipt(process.pid);
    expect(receipt.uid.value).to.equal(process.getuid?.());
    expect(receipt.gid.value).to.equal(process.getgid?.());
    expect(receipt.namespaces.value).to.deep.equal([]);
    expect(receipt.interfaces.value).to.include("lo");
    expect(receipt.mounts.value.map(({ path }) => path)).to.include("/proc");
    expect(receipt.uid.source).to.equal(`/proc/${process.pid}/status: Uid`);
  });

  it("show a cage as it is", async function () {
    const args = ["--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc"];
    const root = ["--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"];
    const libs = ["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"];
    const rest = ["--proc", "/proc", "--tmpfs", "/a b", "--cap-drop", "ALL", "--remount-ro", "/"];
    const program = ["sh", "-c", "echo ready; read stop"];
    const cage = spawn("bwrap", [...args, ...root, ...libs, ...rest, ...program], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    const ended = once(cage, "exit");
    cage.on("error", () => {});
    const started = await Promise.race([once(cage.stdout, "data"), ended.then(() => undefined)]);
    if (started === undefined) return this.skip();
    const inside = (await descendants(cage.pid ?? 0)).at(-1) ?? 0;
    const receipt = await readProcessReceipt(inside);
    expect(receipt.noNewPrivileges.value).to.equal(true);
    expect(receipt.seccomp.value).to.equal(false);
    expect(receipt.capabilities.value.effective).to.match(/^0+$/);
    expect(receipt.namespaces.value).to.include.members(["ipc", "mnt", "net", "pid", "user"]);
    expect(receipt.interfaces.value).to.deep.equal(["lo"]);
    expect(receipt.readOnlyRoot.value).to.equal(true);
    const writable = receipt.mounts.value.find(({ path }) => path === "/a b");
    expect(writable).to.deep.include({ type: "tmpfs" });
    expect(writable?.options).to.match(/^rw/);
    cage.stdin.end();
    await ended;
  });

  it("are read from any place, with its name in the sources", () => {
    const receipt = processReceipt(
      {
        status:
          "Name:\tperl\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\t0\t1000\t1000\n" +
          "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000021\n" +
          "NoNewPrivs:\t1\nSeccomp:\t2\n",
        mountinfo:
          "1 0 8:1 / / rw,relatime - ext4 /dev/vda rw\n2 1 0:2 / / rw - tmpfs tmpfs ro,size=1k\n" +
          "3 2 0:3 / /a\\040b rw,nosuid shared:7 - tmpfs tmpfs rw\n",
        netDev: "Inter-| Receive\n face |bytes\n    lo: 1 2\n  eth0: 3 4\n",
        namespaces: new Map([
          ["pid", "pid:[2]"],
          ["net", "net:[9]"],
          ["mnt", "mnt:[3]"],
        ]),
      },
      new Map([["net", "net:[9]"]]),
      "guest:/proc/42",
    );
    expect(receipt.uid).to.deep.equal({ value: 1000, source: "guest:/proc/42/status: Uid" });
    expect(receipt.gid.value, "one of its groups is root's").to.equal(0);
    expect(receipt.capabilities.value.bounding).to.equal("0000000000000021");
    expect(receipt.noNewPrivileges.value && receipt.seccomp.value).to.equal(true);
    expect(receipt.interfaces.value).to.deep.equal(["lo", "eth0"]);
    expect(receipt.namespaces.value).to.deep.equal(["mnt", "pid"]);
    expect(receipt.readOnlyRoot.value, "the last mount is what is seen").to.equal(true);
    expect(receipt.mounts.value.at(-1)).to.deep.equal({
      ...{ path: "/a b", type: "tmpfs", options: "rw,nosuid" },
    });
  });

  it("are not made up where they are missing", () => {
    const files = {
      status: "Uid:\t1\t1\t1\t1\n",
      mountinfo: "",
      netDev: "",
      namespaces: new Map(),
    };
    expect(() => processReceipt(files, new Map(), "/proc/1")).to.throw("/proc/1/status has no Gid");
    expect(parseMounts("")).to.deep.equal([]);
    expect(parseInterfaces("")).to.deep.equal([]);
  });

  it("are refused of a process that is gone", async () => {
    const child = spawn("true");
    await once(child, "exit");
    const error: unknown = await readProcessReceipt(child.pid ?? 0).catch((e: unknown) => e);
    expect(error).to.be.instanceOf(Error);
  });

  it("tell the size of a file system, and what of it is used", async () => {
    const { value, source } = await readDiskReceipt("/");
    const { blocks, bsize } = statfsSync("/");
    expect(value).to.equal(blocks * bsize);
    expect(source).to.equal("statfs /");
    expect(await readDiskUse("/")).to.be.within(1, value);
  });
});
