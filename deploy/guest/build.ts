/**
 * Builds what a guest boots from: kernel, initramfs and root image, from a kernel with its
 * modules and a root file system. Getting those, and starting guests, is left to others.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { basename, delimiter, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import {
  type GuestManifest,
  guestFiles,
  guestVersion,
  readGuestManifest,
} from "../../services/vm/drivers/guest/guest-image.ts";
import { residentPath } from "../../services/vm/drivers/resident/resident-path.ts";
import { cpioArchive } from "./cpio.ts";
import { unpackKernel } from "./kernel-image.ts";

/** What a guest is built from. */
export interface BuildGuestOptions {
  /** A bzImage or an ELF kernel for x86-64. */
  readonly kernelPath: string;
  /** The kernel's `lib/modules/<release>`; its modules are plain `.ko` files. */
  readonly modulesDir: string;
  /** A root file system with perl, tar and git, as a plain tar. */
  readonly rootfsTar: string;
  /** The folder to write; what is there and still fits is kept. */
  readonly out: string;
  /** A static busybox. Default: `busybox` on PATH. */
  readonly busyboxPath?: string;
  /** Takes one line of progress, without a line end. Default: none. */
  readonly log?: (line: string) => void;
}

/** In the order in which they have to be loaded. ext4 and the serial line are built in. */
const rootModules = [
  "drivers/virtio/virtio_ring.ko",
  "drivers/virtio/virtio.ko",
  "drivers/virtio/virtio_pci_modern_dev.ko",
  "drivers/virtio/virtio_pci_legacy_dev.ko",
  "drivers/virtio/virtio_pci.ko",
  "drivers/block/virtio_blk.ko",
  "drivers/char/virtio_console.ko",
];
/** Loaded besides where devices are on no bus (Firecracker). */
const mmioModules = [
  "drivers/virtio/virtio_mmio.ko",
  "net/vmw_vsock/vsock.ko",
  "net/vmw_vsock/vmw_vsock_virtio_transport_common.ko",
  "net/vmw_vsock/vmw_vsock_virtio_transport.ko",
];
const moduleSignature = Buffer.from("~Module signature appended~\n");
const rootSlack = 1.15;
const rootSlackBytes = 32 << 20;
/** Fixed, so that the same tree gives the same image. */
const rootUuid = "6d657368-0000-4000-8000-000000000001";
/** What the guest's root has besides the tar; the job's user is 1000. */
const jobUser = "job:x:1000:1000:job:/work:/bin/sh\n";
const jobGroup = "job:x:1000:\n";
/** Left out of the root: documentation, translations and the packager's own stores. */
const leftOut = ["dev/*", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt"];

const run = promisify(execFile);

/**
 * Brings `out` up to date and answers its manifest. Parts whose sources have not changed are
 * kept. Each file is replaced whole; running guests keep the file they have open. Throws when
 * a source or a tool (`tar`, `mkfs.ext4`; without root also `fakeroot`) is missing.
 */
export async function buildGuest(options: BuildGuestOptions): Promise<GuestManifest> {
  const { out, log } = options;
  await mkdir(out, { recursive: true });
  const before = await readGuestManifest(out);
  const kernel = await readFile(options.kernelPath);
  const initramfs = await makeInitramfs(options);
  const bootDigest = digestOf(String(guestVersion), kernel, initramfs);
  const rootDigest = await digestOfRoot(options.rootfsTar);
  if (before?.rootDigest !== rootDigest) {
    log?.("building the guest's root image");
    await makeRoot(options.rootfsTar, out);
  }
  if (before?.bootDigest !== bootDigest) {
    log?.("building the guest's kernel and initramfs");
    await replaceFile(join(out, guestFiles.kernel), unpackKernel(kernel));
    await replaceFile(join(out, guestFiles.initramfs), initramfs);
  }
  const manifest = { version: guestVersion, bootDigest, rootDigest };
  await replaceFile(join(out, guestFiles.manifest), Buffer.from(JSON.stringify(manifest)));
  return manifest;
}

async function makeInitramfs(options: BuildGuestOptions): Promise<Buffer> {
  const here = import.meta.dirname;
  const busybox = options.busyboxPath ?? findOnPath("busybox");
  if (!busybox) throw new Error("a static busybox is needed: install busybox-static");
  const modules = await Promise.all(
    [...rootModules, ...mmioModules].map(async (path) => {
      const data = await readFile(join(options.modulesDir, "kernel", path));
      return { name: basename(path), data: withoutSignature(data) };
    }),
  );
  const folders = ["bin", "dev", "proc", "sys", "modules", "scratch", "root"];
  return cpioArchive([
    ...folders.map((path) => ({ path })),
    { path: "init", data: await readFile(join(here, "init")) },
    { path: "agent.pl", mode: 0o644, data: await readFile(residentPath) },
    { path: "bin/busybox", data: await readFile(busybox) },
    ...modules.map(({ name, data }) => ({ path: `modules/${name}`, mode: 0o644, data })),
    { path: "modules/order", mode: 0o644, data: orderOf(rootModules) },
    { path: "modules/order-mmio", mode: 0o644, data: orderOf(mmioModules) },
  ]);
}

function orderOf(modules: readonly string[]): Buffer {
  return Buffer.from(`${modules.map((path) => basename(path)).join(" ")}\n`);
}

/** Checking a signature costs boot time and proves nothing: kernel and modules come together. */
function withoutSignature(module: Buffer): Buffer {
  if (!module.subarray(-moduleSignature.length).equals(moduleSignature)) return module;
  // Before the marker: a 12-byte record that ends in the signature's length.
  const record = module.length - moduleSignature.length;
  return module.subarray(0, record - 12 - module.readUInt32BE(record - 4));
}

async function makeRoot(rootfsTar: string, out: string): Promise<void> {
  const work = await mkdtemp(join(out, "root-"));
  try {
    const image = join(work, "image");
    const { size } = await stat(rootfsTar);
    await writeFile(image, "");
    await truncate(image, Math.ceil(size * rootSlack) + rootSlackBytes);
    await writeFile(join(work, "build.sh"), rootScript);
    const command = ["sh", join(work, "build.sh"), rootfsTar, join(work, "tree"), image];
    await run(...asRoot([...command, rootUuid, jobUser, jobGroup, ...leftOut]));
    await rename(image, join(out, guestFiles.root));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** One shell, because without root the owners of files live only as long as `fakeroot`. */
const rootScript = `set -e
PATH=$PATH:/usr/sbin:/sbin
tar=$1 tree=$2 image=$3 uuid=$4 user=$5 group=$6
shift 6
for pattern; do set -- "$@" "--exclude=./$pattern"; shift; done
mkdir -m 755 "$tree"
tar -xpf "$tar" -C "$tree" --numeric-owner "$@"
printf '%s' "$user" >>"$tree/etc/passwd"
printf '%s' "$group" >>"$tree/etc/group"
echo sandbox >"$tree/etc/hostname"
printf '127.0.0.1 localhost sandbox\\n' >"$tree/etc/hosts"
: >"$tree/etc/machine-id"
mkdir -p "$tree/work" "$tree/opt/devmesh"
chown 1000:1000 "$tree/work"
mkfs.ext4 -q -F -b 4096 -m 0 -U "$uuid" -E "hash_seed=$uuid,lazy_itable_init=1" \\
  -O ^has_journal,^metadata_csum,uninit_bg -d "$tree" "$image"
`;

function asRoot(command: string[]): [string, string[]] {
  const [file = "sh", ...args] =
    process.getuid?.() === 0 ? command : ["fakeroot", "--", ...command];
  return [file, args];
}

async function digestOfRoot(rootfsTar: string): Promise<string> {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([guestVersion, rootScript, jobUser, jobGroup, leftOut, rootUuid]));
  await pipeline(createReadStream(rootfsTar), hash);
  return hash.digest("hex");
}

function digestOf(...parts: (string | Buffer)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

async function replaceFile(path: string, data: Buffer): Promise<void> {
  await writeFile(`${path}.new`, data);
  await rename(`${path}.new`, path);
}

function findOnPath(name: string): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter);
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}
