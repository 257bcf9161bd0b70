/**
 * The programs that the suite puts into `/work/bin`: a script for real
 * sandboxes, and a function of the same behaviour for the fake.
 */
import type { FakeContext, FakeProgram } from "../fake.ts";

interface SuiteProgram {
  readonly sh: string;
  readonly fake: FakeProgram;
}

const killed = (context: FakeContext) =>
  new Promise<number>((resolve) =>
    context.killed.addEventListener("abort", () => resolve(0), { once: true }),
  );

/** Every program by name. The scripts use nothing beyond POSIX sh and the usual small tools. */
export const suitePrograms: Readonly<Record<string, SuiteProgram>> = {
  /** Prints its arguments, one a line. */
  args: {
    sh: `for a in "$@"; do printf '%s\\n' "$a"; done`,
    fake: async (c) => {
      for (const arg of c.argv.slice(1)) await c.write("stdout", `${arg}\n`);
      return 0;
    },
  },
  exits: { sh: `exit "$1"`, fake: async (c) => Number(c.argv[1]) },
  /** Ends itself by the signal of that name (without SIG). */
  raises: {
    sh: `kill -s "$1" $$; sleep 600`,
    fake: async (c) => {
      c.raise(c.argv[1] === "KILL" ? "SIGKILL" : "SIGTERM");
      return killed(c);
    },
  },
  /** The file `$1` to stdout and `$2` to stderr. */
  streams: {
    sh: `cat "$1" && cat "$2" >&2`,
    fake: async (c) => {
      await c.write("stdout", c.files.read(c.argv[1] ?? "") ?? "");
      await c.write("stderr", c.files.read(c.argv[2] ?? "") ?? "");
      return 0;
    },
  },
  /** Writes by the names of its own streams. */
  reopens: {
    sh: "echo out > /dev/stdout && echo err > /dev/stderr",
    fake: async (c) => {
      await c.write("stdout", "out\n");
      await c.write("stderr", "err\n");
      return 0;
    },
  },
  variables: {
    sh: "exec env",
    fake: async (c) => {
      for (const [key, value] of Object.entries(c.env))
        await c.write("stdout", `${key}=${value}\n`);
      return 0;
    },
  },
  where: {
    sh: "pwd",
    fake: async (c) => {
      await c.write("stdout", `${c.cwd}\n`);
      return 0;
    },
  },
  /** Says "ready" and runs on; so do a child and a grandchild in a session of its own. */
  family: {
    sh: `sh -c 'setsid sleep 600 & sleep 600' & echo ready; sleep 600`,
    fake: async (c) => {
      c.fork((child) => {
        child.fork(killed);
        return killed(child);
      });
      await c.write("stdout", "ready\n");
      return killed(c);
    },
  },
  /** As family, but each of the three says when SIGTERM comes, and ends; the first with 5. */
  polite: {
    // Each ends its own sleep: one started while the signal was sent may have missed it.
    sh: `
if [ "$1" = "" ]; then "$0" child & kid=$!; fi
if [ "$1" = child ]; then "$0" grandchild & kid=$!; fi
trap 'kill -s KILL $nap 2>/dev/null; echo "\${1:-program} ends"; wait $kid; [ "$1" = "" ] && exit 5; exit 0' TERM
sleep 600 & nap=$!
echo ready
while :; do wait $nap; done`,
    fake: async (c) => {
      const waiter =
        (name: string): FakeProgram =>
        async (own) => {
          const { promise, resolve } = Promise.withResolvers<void>();
          own.onSignal(() => resolve());
          await own.write("stdout", "ready\n");
          await promise;
          await own.write("stdout", `${name} ends\n`);
          return name === "program" ? 5 : 0;
        };
      c.fork(waiter("child"));
      c.fork(waiter("grandchild"));
      return waiter("program")(c);
    },
  },
  /** Leaves a child behind that has the output, and ends at once. */
  leaves: {
    sh: `sleep 600 & echo left; exit 3`,
    fake: async (c) => {
      c.fork(killed);
      await c.write("stdout", "left\n");
      return 3;
    },
  },
  /**
   * Leaves a child behind that hears no signal, has neither its parent, its session, its
   * variables nor its output, and starts others for ever; ends once it is there.
   */
  hides: {
    sh: `mkfifo /tmp/up
setsid env -i PATH="$PATH" sh -c 'trap "" HUP INT TERM; echo up > /tmp/up; while :; do sleep 600 & sleep 0.01; done' >/dev/null 2>&1 </dev/null &
read up < /tmp/up`,
    fake: async (c) => {
      c.fork((child) => {
        child.onSignal(() => {});
        return killed(child);
      });
      return 0;
    },
  },
  /** Uses `$1` MiB of memory, then says "survived". */
  hog: {
    sh: `head -c "$1"m /dev/zero | tail -n 1 >/dev/null; code=$?; [ $code = 0 ] && echo survived; exit $code`,
    fake: async (c) => {
      c.allocate(Number(c.argv[1]));
      if (c.killed.aborted) return 137;
      await c.write("stdout", "survived\n");
      return 0;
    },
  },
  /** Starts up to `$1` children, and says the number after each. */
  forks: {
    sh: `i=0; while [ $i -lt "$1" ]; do sleep 600 & i=$((i+1)); echo $i; done`,
    fake: async (c) => {
      for (let i = 1; i <= Number(c.argv[1]); i++) {
        c.fork(killed);
        await c.write("stdout", `${i}\n`);
      }
      return 0;
    },
  },
  /** Takes all processes that it may have, says "full" and stays. */
  besieged: {
    sh: `(while :; do sleep 600 & done) 2>/dev/null; echo full; while :; do :; done`,
    fake: async (c) => {
      try {
        for (;;) c.fork(killed);
      } catch {
        // The limit: what this program is here for.
        await c.write("stdout", "full\n");
      }
      return killed(c);
    },
  },
  /** Fills `/work/fill` with `$1` MiB. */
  fills: {
    sh: `exec dd if=/dev/zero of=/work/fill bs=1048576 count="$1"`,
    fake: async (c) => {
      c.files.write("/work/fill", Buffer.alloc(Number(c.argv[1]) * 1024 * 1024));
      return 0;
    },
  },
  /** Writes its input back. */
  echoes: {
    sh: "exec cat",
    fake: async (c) => {
      await c.write("stdout", c.input);
      return 0;
    },
  },
  /** Writes for ever. */
  spews: {
    sh: "exec yes yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
    fake: async (c) => {
      for (;;) await c.write("stdout", Buffer.alloc(65_536, "y"));
    },
  },
  /** Says "ready", runs on, and lets no SIGTERM disturb it. */
  stubborn: {
    sh: `trap '' TERM; echo ready; while :; do sleep 600; done`,
    fake: async (c) => {
      c.onSignal(() => {});
      await c.write("stdout", "ready\n");
      return killed(c);
    },
  },
  /** Writes `$2` into the file `$1`. */
  writes: {
    sh: `printf '%s' "$2" > "$1"`,
    fake: async (c) => {
      c.files.write(c.argv[1] ?? "", Buffer.from(c.argv[2] ?? ""));
      return 0;
    },
  },
};

/** The same programs for `FakeDriver`. */
export const fakePrograms: Readonly<Record<string, FakeProgram>> = Object.fromEntries(
  Object.entries(suitePrograms).map(([name, program]) => [name, program.fake]),
);
