/** The kinds of sandboxes that this host can make, each as `devmesh up` is told of it. */
import { ensureGuest } from "../../deploy/guest/ensure-guest.ts";
import { ensureBaseImage, startDocker } from "../../scripts/parts/docker.ts";
import type { Found } from "../../scripts/parts/part.ts";
import type { IsolationName, JobConditions } from "../../sdk/ts/src/node.ts";
import { log, need } from "../parts/need.ts";

type Env = Readonly<Record<string, string>>;

/** One kind of sandbox. */
export interface SandboxPlace {
  readonly driver: string;
  readonly isolation: IsolationName;
  /** Caps that are small here; less is refused, or too little to start with. */
  readonly small: NonNullable<JobConditions["limits"]> & { readonly pids: number };
  /** Gets what it needs; skips the tests with the reason where that cannot be had. */
  prepare(context: Mocha.Context, cleanup: AsyncDisposableStack): Promise<Env>;
}

const small = { memoryMib: 128, diskMib: 32, pids: 48 };

async function engineEnv(context: Mocha.Context, cleanup: AsyncDisposableStack): Promise<Env> {
  const engine = need(context, await startDocker({ log }));
  cleanup.defer(() => engine.stop());
  const { image } = need(context, await ensureBaseImage(engine.socketPath, { log }));
  return { DOCKER_HOST: `unix://${engine.socketPath}`, DOCKER_IMAGE: image };
}

/** Where the guest's image and QEMU lie. */
export async function guestEnv(context: Mocha.Context): Promise<Env> {
  const found: Found<{ guestDir: string; binary: string }> = await ensureGuest();
  const { guestDir, binary } = need(context, found);
  return { VM_GUEST_DIR: guestDir, QEMU_BINARY: binary };
}

/** Weakest first. */
export const sandboxPlaces: readonly SandboxPlace[] = [
  { driver: "process", isolation: "process", small, prepare: async () => ({}) },
  { driver: "docker", isolation: "container", small, prepare: engineEnv },
  {
    driver: "gvisor",
    isolation: "gvisor",
    small: { ...small, memoryMib: 256, pids: 256 },
    prepare: engineEnv,
  },
  { driver: "qemu", isolation: "vm", small, prepare: guestEnv },
];

/** `SANDBOX_PLACES=process,docker`: only these, for quick runs. */
const wanted = process.env.SANDBOX_PLACES?.split(",");

/** The places to run on; `names` are those that a test has any use for. Default: all. */
export function placesFor(...names: string[]): readonly SandboxPlace[] {
  return sandboxPlaces.filter(
    ({ driver }) =>
      (names.length === 0 || names.includes(driver)) && (wanted?.includes(driver) ?? true),
  );
}
