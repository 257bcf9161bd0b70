/**
 * Has a guest ready to boot on this machine: gets its sources by `scripts/parts` and builds
 * it into the cache folder. For tests, benches and development.
 */
import { join } from "node:path";
import { ensureBaseRootfs } from "../../scripts/parts/base-image.ts";
import { cacheDir, withLock } from "../../scripts/parts/cache.ts";
import { attempt, type Found, type PartOptions } from "../../scripts/parts/part.ts";
import { ensureQemu } from "../../scripts/parts/qemu.ts";
import { buildGuest } from "./build.ts";

/** What it takes to start virtual machines. */
export interface GuestPart {
  /** `qemu-system-x86_64`. */
  readonly binary: string;
  /** What `buildGuest` wrote. */
  readonly guestDir: string;
}

const buildWaitMs = 600_000;

/** QEMU and an up-to-date guest; the first call fetches and builds for about a minute. */
export async function ensureGuest(options: PartOptions = {}): Promise<Found<GuestPart>> {
  const qemu = await ensureQemu(options);
  if (!qemu.ok) return qemu;
  const rootfs = await ensureBaseRootfs(options);
  if (!rootfs.ok) return rootfs;
  const { binary, kernelPath, modulesDir } = qemu.value;
  const guestDir = join(cacheDir(), "guest");
  return await attempt("install busybox-static and e2fsprogs", async () => {
    await withLock("guest", buildWaitMs, () =>
      buildGuest({
        kernelPath,
        modulesDir,
        rootfsTar: rootfs.value.tarPath,
        out: guestDir,
        ...(options.log && { log: options.log }),
      }),
    );
    return { binary, guestDir };
  });
}
