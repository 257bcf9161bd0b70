/**
 * The library that writes Seatbelt profiles, as far as it is used here. It is
 * loaded only where it is needed; its own types are checked against this.
 */
import { unavailable } from "../driver-errors.ts";

/** What a program may do, in the library's words. */
export interface RuntimeRules {
  readonly network: {
    /** None: no address can be reached. */
    allowedDomains: string[];
    deniedDomains: string[];
    /** Folders of sockets that may be connected to. One list for the whole process. */
    allowUnixSockets?: string[];
  };
  readonly filesystem: {
    denyRead: string[];
    /** Within what is denied. */
    allowRead?: string[];
    allowWrite: string[];
    denyWrite: string[];
    allowGitConfig?: boolean;
  };
}

/** The library's manager: one for the whole process. */
export interface SandboxRuntime {
  isSupportedPlatform(): boolean;
  /** What is missing on this host. */
  checkDependencies(): { readonly errors: string[]; readonly warnings: string[] };
  initialize(rules: RuntimeRules): Promise<void>;
  /** The arguments that run a line of shell under rules of its own. */
  wrapWithSandboxArgv(
    line: string,
    shell: string,
    rules: RuntimeRules,
    signal?: AbortSignal,
  ): Promise<{ readonly argv: string[] }>;
  /** Ends what it keeps running for all sandboxes. */
  reset(): Promise<void>;
}

/** Loads the library. Throws ISOLATION_UNAVAILABLE if it is not installed. */
export async function loadSandboxRuntime(): Promise<SandboxRuntime> {
  try {
    const { SandboxManager } = await import("@anthropic-ai/sandbox-runtime");
    return SandboxManager;
  } catch (error: unknown) {
    const name = "@anthropic-ai/sandbox-runtime";
    throw unavailable(`the package ${name} cannot be loaded`, `npm install ${name}`, error);
  }
}

/** A word of a shell's line, as it is. */
export function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
