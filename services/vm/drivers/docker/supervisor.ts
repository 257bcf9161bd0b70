/**
 * The first program of a container. It does by shell builtins alone, and so
 * also when no process can be started any more, what the engine has no call
 * for: signals to one program with all its children. It ends with our
 * connection to it, and the container with it.
 */
import { createInterface } from "node:readline";
import { PassThrough, type Readable } from "node:stream";
import { sandboxFailed } from "../driver-errors.ts";
import { frames } from "./frames.ts";

/** Marks the processes of one program, for children inherit variables. */
export const tokenVariable = "DEVMESH_EXEC";

/**
 * `tree T` finds the processes that have the token T among their first
 * variables, and all below them. Whatever a program writes into its variables
 * is only ever matched, never run.
 */
const script = `
tree() {
  found=" " more=1
  while [ $more = 1 ]; do
    more=0
    for d in /proc/[0-9]*; do
      p=\${d#/proc/} parent= hit=0
      case $found in *" $p "*) continue ;; esac
      while read -r k v; do
        case $k in PPid:) parent=$v; break ;; esac
      done 2>/dev/null <$d/status
      case $found in
        *" $parent "*) hit=1 ;;
        *) while IFS= read -r l || [ "$l" != "" ]; do
             case $l in *"$1"*) hit=1; break ;; esac
           done 2>/dev/null <$d/environ ;;
      esac
      if [ $hit = 1 ]; then found="$found$p " more=1; fi
    done
  done
}
echo ready 0
while read -r order number argument signal; do
  answer=0
  case $order in
    signal)
      tree "$argument"
      for p in $found; do kill -s "$signal" "$p" 2>/dev/null && answer=$((answer + 1)); done ;;
    oom)
      for f in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
        while read -r k v; do
          case $k in oom_kill) answer=$v ;; esac
        done 2>/dev/null <$f
      done ;;
  esac
  echo "$number $answer"
done`;

/** The container's command. */
export const supervisorCommand = ["/bin/sh", "-c", script] as const;

/** Rounds of SIGKILL for a program that forks while it is killed. */
const maxRounds = 100;

/** Our side of the supervisor. */
export class Supervisor {
  readonly #stream: NodeJS.ReadWriteStream;
  readonly #waiting = new Map<string, { resolve(n: number): void; reject(e: Error): void }>();
  #count = 0;
  #gone = false;

  /** `stream` is attached to the first program's stdin and stdout. */
  constructor(stream: NodeJS.ReadWriteStream) {
    this.#stream = stream;
    const lines = new PassThrough();
    createInterface({ input: lines }).on("line", (line) => {
      const [number, answer] = line.split(" ");
      this.#waiting.get(number ?? "")?.resolve(Number(answer));
      this.#waiting.delete(number ?? "");
    });
    this.#ready = this.#wait("ready");
    // Whoever starts the container meets the failure; nobody may get so far.
    this.#ready.catch(() => {});
    this.#read(lines).then(
      () => this.#end(),
      (error: unknown) => this.#end(error),
    );
  }

  readonly #ready: Promise<number>;

  /** Resolves when it answers. Rejects if the container ends before. */
  async ready(): Promise<void> {
    await this.#ready;
  }

  /** Signals all processes of the program with that token. SIGKILL leaves none. */
  async signal(token: string, name: "SIGTERM" | "SIGKILL" | "SIGINT"): Promise<void> {
    for (let round = 0; round < maxRounds; round++) {
      const count = await this.#ask("signal", token, name.slice("SIG".length));
      if (name !== "SIGKILL" || count === 0) return;
    }
    throw sandboxFailed("docker", "the program starts processes faster than they can be ended");
  }

  /** How many processes the memory cap has ended so far. */
  oomKills(): Promise<number> {
    return this.#ask("oom");
  }

  /** Ends the container by ending our connection. */
  close(): void {
    this.#stream.end();
  }

  #ask(order: string, argument = "-", signal = "-"): Promise<number> {
    if (this.#gone) return Promise.reject(ended());
    const number = `${++this.#count}`;
    const answer = this.#wait(number);
    this.#stream.write(`${order} ${number} ${argument} ${signal}\n`);
    return answer;
  }

  #wait(number: string): Promise<number> {
    return new Promise((resolve, reject) => this.#waiting.set(number, { resolve, reject }));
  }

  async #read(lines: PassThrough): Promise<void> {
    for await (const { stream, data } of frames(this.#stream as unknown as Readable)) {
      if (stream === "stdout") lines.write(data);
    }
  }

  #end(cause?: unknown): void {
    this.#gone = true;
    for (const { reject } of this.#waiting.values()) reject(ended(cause));
    this.#waiting.clear();
  }
}

function ended(cause?: unknown): Error {
  return sandboxFailed("docker", "the container has ended", cause);
}
