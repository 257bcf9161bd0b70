/** What one attempt to break out is, and how it is judged. What each tries is in `attempts/`. */
import type { ProgramEnd, Room } from "./target.ts";
import type { World } from "./world.ts";

/** Leaves the sandbox by the kernel or the file system, or by the network. */
export type AttemptKind = "escape" | "egress";

/** What an attempt has to work with. */
export interface AttemptContext {
  readonly room: Room;
  readonly world: World;
  /** Unique to this one try: what reaches the host is known by it. */
  readonly nonce: string;
  /** Runs the attempt's program; answers all that it wrote. */
  run(): Promise<ProgramEnd>;
}

/** One attempt. */
export interface Attempt {
  /** Unique, for example `unshare-user-namespace`. */
  readonly name: string;
  readonly kind: AttemptKind;
  /** What it would mean if it succeeded, in one sentence. */
  readonly what: string;
  /**
   * A Perl program behind the prelude of `prelude.ts`. It calls `got` for what
   * it must not be able to do, and runs to its end.
   */
  readonly perl: string;
  /** True: it gets a sandbox of its own, for what it leaves. Default: false. */
  readonly fresh?: boolean;
  /** True: its sandbox has a network policy that opens one host. Default: it has no network. */
  readonly hasWay?: boolean;
  /** True: a sandbox that holds may end the program. Default: it must run to its end. */
  readonly mayDie?: boolean;
  /** How long its program may take on the host's own kernel. Default: 20 s. */
  readonly timeoutMs?: number;
  /**
   * More that the host does and looks at; answers what succeeded. Runs the
   * program itself. Default: the program runs, and that is all.
   */
  readonly judge?: (context: AttemptContext) => Promise<Judgement>;
}

/** What `judge` answers. */
export interface Judgement extends ProgramEnd {
  /** What the host saw. Empty: nothing. */
  readonly seen: readonly string[];
}

/** How one try ended. `broken`: it proves nothing, for its program did not come to its end. */
export interface AttemptResult {
  readonly name: string;
  readonly kind: AttemptKind;
  readonly state: "held" | "succeeded" | "broken";
  /** What shows it; for `held` empty. */
  readonly evidence: readonly string[];
}

const defaultTimeoutMs = 20_000;

/** Tries it once and judges it by what the host saw, then by the program's own word. */
export async function tryAttempt(
  attempt: Attempt,
  room: Room,
  world: World,
): Promise<AttemptResult> {
  const { name, kind, timeoutMs = defaultTimeoutMs } = attempt;
  const nonce = world.nonce();
  const { limits, isSimulated = false, patience = 1 } = room;
  const env = {
    ...world.clues(limits),
    NONCE: nonce,
    ...(isSimulated && { SIMULATED: "1" }),
  };
  const run = () => room.perl(attempt.perl, env, timeoutMs * patience);
  const judge = attempt.judge ?? (async () => ({ ...(await run()), seen: [] }));
  try {
    const { output, exitCode, seen } = await judge({ room, world, nonce, run });
    const evidence = [
      ...seen,
      ...world.toldIn(output).map((what) => `the sandbox read ${what}`),
      ...(await world.seenSince(nonce)),
      ...claims(output, nonce),
    ];
    if (evidence.length > 0) return { name, kind, state: "succeeded", evidence };
    if (attempt.mayDie === true || output.includes(`DONE ${nonce}`)) {
      return { name, kind, state: "held", evidence };
    }
    const told = `its program ended with ${exitCode}: ${output.trim().slice(-300)}`;
    return { name, kind, state: "broken", evidence: [told] };
  } catch (error: unknown) {
    const told = error instanceof Error ? error.message : String(error);
    return { name, kind, state: "broken", evidence: [told] };
  }
}

function claims(output: string, nonce: string): string[] {
  return output
    .split("\n")
    .filter((line) => line.startsWith(`GOT ${nonce} `))
    .map((line) => line.slice(`GOT ${nonce} `.length, 400));
}
