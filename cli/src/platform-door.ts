/**
 * Owns the one door to the platform's own code: `@devmesh/up`, loaded only by
 * `up`, `serve`, `runner`, `chaos`, `restore` and `doctor --attack`. All other commands know the
 * SDK and nothing else.
 */
import type { SshOptions } from "./ssh-options.ts";
import { UsageError } from "./usage-error.ts";

/** What `@devmesh/up` offers. */
export interface Platform {
  runUp(argv: string[]): Promise<unknown>;
  runServe(name: string): Promise<unknown>;
  runChaos(argv: string[]): Promise<unknown>;
  /** Restores a backup's file to where the environment says. Throws DevmeshErrors. */
  runRestore(options: {
    readonly file: string;
    readonly env: Readonly<Record<string, string | undefined>>;
  }): Promise<RestoreReport>;
  runAttack(argv: string[]): Promise<unknown>;
  /** Joins a server; the environment says which. */
  runRunner(env: Readonly<Record<string, string | undefined>>): Promise<unknown>;
  /** Sets a runner up on another machine; leaves nothing there when it throws. */
  installRunner(options: RunnerToInstall): Promise<{ runnerId: string; host: string }>;
  /** Removes it; answers the id of its token, if that is known. */
  uninstallRunner(target: SshOptions): Promise<{ tokenId: string }>;
}

/** What was restored. */
export interface RestoreReport {
  readonly dataDir: string;
  readonly storage: string;
  readonly rows: number;
  readonly blobs: number;
  readonly createTime: string;
  /** What is not restored, in words. */
  readonly leftOut: readonly string[];
}

/** A runner for another machine. */
export interface RunnerToInstall {
  readonly target: SshOptions;
  readonly url: string;
  readonly token: string;
  readonly tokenId: string;
  /** `K=V,…`; empty: none. */
  readonly labels: string;
  readonly capacity?: number;
  /** True once the server lists it as alive. */
  readonly isAlive: (runnerId: string) => Promise<boolean>;
  readonly onStep: (text: string) => void;
  readonly signal: AbortSignal;
}

const name: string = "@devmesh/up";

/** What it must offer. */
const doors: readonly (keyof Platform)[] = [
  ...(["runUp", "runServe", "runChaos", "runRestore", "runAttack"] as const),
  ...(["runRunner", "installRunner", "uninstallRunner"] as const),
];

/** The platform, or undefined where it is not installed. */
export async function findPlatform(): Promise<Platform | undefined> {
  let door: unknown;
  try {
    door = await import(name);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  if (isPlatform(door)) return door;
  throw new Error(`${name} does not offer ${doors.join(", ")}`);
}

/** The platform. Throws `UsageError` where it is not installed. */
export async function loadPlatform(): Promise<Platform> {
  const platform = await findPlatform();
  if (platform !== undefined) return platform;
  throw new UsageError(
    "this installation has the command line only, not the platform",
    `install ${name} beside it, or name a running server with --url`,
  );
}

function isMissing(error: unknown): boolean {
  if (!(error instanceof Error) || !("code" in error)) return false;
  const codes: readonly unknown[] = ["ERR_MODULE_NOT_FOUND", "ERR_PACKAGE_PATH_NOT_EXPORTED"];
  return codes.includes(error.code) && error.message.includes(name);
}

function isPlatform(value: unknown): value is Platform {
  return (
    typeof value === "object" &&
    value !== null &&
    doors.every((name) => name in value && typeof Reflect.get(value, name) === "function")
  );
}

/** Its answer, as an exit code: a number is one, anything else is success. */
export function toExitCode(answer: unknown): number {
  return typeof answer === "number" ? answer : 0;
}
