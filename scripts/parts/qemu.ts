/**
 * QEMU and a Linux kernel for its guests, with the modules the kernel comes with. The kernel is
 * only unpacked, not installed. Guests are made and started elsewhere.
 */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { cached } from "./cache.ts";
import { ensureBinary, findBinary, installDebian, updateLists } from "./debian.ts";
import { attempt, type Found, type Log, type PartOptions } from "./part.ts";
import { run } from "./run.ts";

/** What booting a guest takes. `busybox` (static) and `cpio` are on PATH as well. */
export interface Qemu {
  /** `qemu-system-x86_64`. */
  binary: string;
  /** The compressed kernel. Its virtio drivers and file systems are modules. */
  kernelPath: string;
  /** The kernel's `lib/modules/<release>`, with `modules.dep`. */
  modulesDir: string;
}

const metaPackage = "linux-image-cloud-amd64";
const queryLimitMs = 60_000;
const downloadLimitMs = 300_000;

/** Finds or installs QEMU, and fetches the kernel on the first call (some ten seconds). */
export async function ensureQemu(options: PartOptions = {}): Promise<Found<Qemu>> {
  const binary = await ensureBinary("qemu-system-x86_64", ["qemu-system-x86"], options);
  if (!binary.ok) return binary;
  const tools = await ensureGuestTools(options);
  if (!tools.ok) return tools;
  return await attempt("let apt-get reach a Debian mirror", async () => {
    const folder = await cached("linux-cloud-amd64-1", (target) =>
      fetchKernel(target, options.log),
    );
    const boot = join(folder, "boot");
    const modules = join(folder, "lib", "modules");
    const kernelPath = join(boot, await onlyEntry(boot, "vmlinuz-"));
    const modulesDir = join(modules, await onlyEntry(modules, ""));
    return { binary: binary.value, kernelPath, modulesDir };
  });
}

async function ensureGuestTools(options: PartOptions): Promise<Found<void>> {
  const needed = { busybox: "busybox-static", cpio: "cpio", depmod: "kmod" };
  const packages = Object.entries(needed)
    .filter(([name]) => !findBinary(name))
    .map(([, debianPackage]) => debianPackage);
  return await installDebian(packages, options);
}

async function fetchKernel(folder: string, log?: Log): Promise<void> {
  let name = await kernelPackage();
  if (!name) {
    await updateLists(log);
    name = await kernelPackage();
  }
  if (!name) throw new Error(`apt knows no kernel behind ${metaPackage}`);
  log?.(`fetching ${name}`);
  const packages = join(folder, "packages");
  await mkdir(packages);
  await download(name, packages, log);
  const archive = join(packages, await onlyEntry(packages, name));
  await run("dpkg-deb", ["--extract", archive, folder], { timeoutMs: queryLimitMs });
  await rm(packages, { recursive: true });
  const release = await onlyEntry(join(folder, "lib", "modules"), "");
  const depmod = findBinary("depmod") ?? "depmod";
  await run(depmod, ["--basedir", folder, release], { timeoutMs: queryLimitMs });
}

async function download(name: string, cwd: string, log?: Log): Promise<void> {
  const go = () => run("apt-get", ["download", name], { timeoutMs: downloadLimitMs, cwd });
  try {
    await go();
  } catch {
    // The mirror may have replaced the version that the lists name.
    await updateLists(log);
    await go();
  }
}

/** The package with the kernel itself, which the meta package depends on. */
async function kernelPackage(): Promise<string | undefined> {
  const args = ["depends", "--important", metaPackage];
  const text = await run("apt-cache", args, { timeoutMs: queryLimitMs }).catch(() => "");
  return /Depends: (linux-image-\S+)/.exec(text)?.[1];
}

async function onlyEntry(folder: string, prefix: string): Promise<string> {
  const found = (await readdir(folder)).filter((name) => name.startsWith(prefix));
  if (found.length !== 1 || !found[0]) {
    throw new Error(`${folder} has ${found.length} entries named ${prefix}*, wanted one`);
  }
  return found[0];
}
