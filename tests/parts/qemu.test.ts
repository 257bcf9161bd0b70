import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { findBinary } from "../../scripts/parts/debian.ts";
import { ensureQemu } from "../../scripts/parts/qemu.ts";
import { run } from "../../scripts/parts/run.ts";
import { log, need } from "./need.ts";

const initScript = `#!/bin/busybox sh
echo "guest is up"
/bin/busybox reboot -f
`;

describe("the QEMU part", function () {
  this.timeout(600_000);
  let folder = "";

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "devmesh-qemu-"));
  });

  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it("gives a kernel with modules and their dependencies", async function () {
    const { kernelPath, modulesDir } = need(this, await ensureQemu({ log }));
    expect(existsSync(kernelPath)).to.equal(true);
    expect(existsSync(join(modulesDir, "modules.dep"))).to.equal(true);
    expect(existsSync(join(modulesDir, "kernel", "drivers", "block", "virtio_blk.ko"))).to.equal(
      true,
    );
  });

  it("boots a guest without hardware help", async function () {
    const { binary, kernelPath } = need(this, await ensureQemu({ log }));
    const initrd = await initramfs(folder);
    const machine = "microvm,acpi=off,x-option-roms=off,isa-serial=on,rtc=off,pit=on,pic=on";
    const said = await run(
      binary,
      [
        ...["-M", machine, "-accel", "tcg,thread=single", "-cpu", "max", "-m", "192"],
        ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
        ...["-kernel", kernelPath, "-initrd", initrd, "-serial", "stdio"],
        ...["-append", "console=ttyS0 quiet panic=-1 reboot=t"],
      ],
      { timeoutMs: 120_000 },
    );
    expect(said).to.contain("guest is up");
  });
});

async function initramfs(folder: string): Promise<string> {
  const tree = join(folder, "tree");
  await mkdir(join(tree, "bin"), { recursive: true });
  await mkdir(join(tree, "dev"));
  await copyFile(findBinary("busybox") ?? "busybox", join(tree, "bin", "busybox"));
  await writeFile(join(tree, "init"), initScript);
  await chmod(join(tree, "init"), 0o755);
  const pack = "find . | cpio --quiet --create --format=newc > ../initramfs";
  await run("sh", ["-c", pack], { cwd: tree, timeoutMs: 30_000 });
  return join(folder, "initramfs");
}
