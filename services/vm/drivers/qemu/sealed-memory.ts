/**
 * Owns memory that many processes may map and none can change: files without a name whose
 * content the kernel seals (memfd). What lies in them is left to their users.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type FileHandle, open } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Run } from "./image-pack.ts";

/** The number of the call memfd_create, by processor. */
const memfdCreate: Readonly<Record<string, number>> = { x64: 319, arm64: 279 };
const startLimitMs = 5_000;

/**
 * Node has no way to these calls. The program makes one file for each size, says its pid and
 * their numbers, and then does what it is told on its input until that ends. 3: close on
 * exec, may be sealed; 1033: F_ADD_SEALS; 15: no shrinking, growing, writing, unsealing.
 */
const program = `use strict; $| = 1;
my ($call, @sizes) = @ARGV;
my @files = map { my $name = 'devmesh'; my $fd = syscall $call, $name, 3;
  die "memfd_create: $!\\n" if $fd < 0;
  open my $fh, '+<&=', $fd or die "open: $!\\n"; truncate $fh, $_ or die "truncate: $!\\n"; $fh } @sizes;
print join(' ', $$, map { fileno $_ } @files), "\\n";
while (defined(my $line = <STDIN>)) { chomp $line;
  if ($line eq 'seal') { fcntl($_, 1033, 15) or die "seal: $!\\n" for @files; print "sealed\\n"; next }
  my $file = $line =~ /^\\d+$/ ? $files[$line] : undef;
  if (!$file) { open $file, '<', $line or die "open: $!\\n" }
  my ($at, @runs) = 0;
  while (defined(my $from = sysseek $file, $at, 3)) {
    my $to = sysseek $file, $from, 4; push @runs, ($from + 0) . ' ' . ($to - $from); $at = $to }
  print join(' ', 'runs', @runs), "\\n" }`;

/** Files in memory. They live as long as somebody has them open. */
export class SealedMemory {
  readonly files: readonly FileHandle[];
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(
    files: readonly FileHandle[],
    child: ChildProcess,
    lines: AsyncIterator<string>,
  ) {
    this.files = files;
    this.#child = child;
    this.#lines = lines;
  }

  /** Files of these sizes, open for reading and writing. Throws where there is no such memory. */
  static async make(sizes: readonly number[]): Promise<SealedMemory> {
    const call = process.platform === "linux" ? memfdCreate[process.arch] : undefined;
    if (call === undefined) throw new Error(`no sealed memory on ${process.platform}`);
    const child = spawn("perl", ["-e", program, String(call), ...sizes.map(String)], {
      stdio: ["pipe", "pipe", "ignore"],
      env: { PATH: process.env.PATH, LC_ALL: "C" },
    });
    const files: FileHandle[] = [];
    const timer = setTimeout(() => child.kill("SIGKILL"), startLimitMs);
    try {
      await once(child, "spawn");
      child.stdin.on("error", () => {});
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      const [pid, ...numbers] = (await nextLine(lines)).split(" ");
      for (const number of numbers) files.push(await open(`/proc/${pid}/fd/${number}`, "r+"));
      return new SealedMemory(files, child, lines);
    } catch (error: unknown) {
      child.kill("SIGKILL");
      for (const file of files) await file.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The parts of a file that hold something: of one in memory by its index, of others by path. */
  async extents(file: number | string): Promise<Run[]> {
    this.#child.stdin?.write(`${file}\n`);
    const [word, ...numbers] = (await nextLine(this.#lines)).split(" ");
    if (word !== "runs") throw new Error("the extents of a file cannot be read");
    const runs: Run[] = [];
    for (let at = 0; at + 1 < numbers.length; at += 2) {
      runs.push([Number(numbers[at]), Number(numbers[at + 1])]);
    }
    return runs;
  }

  /** From now on nobody can write to the files. Throws while somebody has one mapped for writing. */
  async seal(): Promise<void> {
    this.#child.stdin?.write("seal\n");
    if ((await nextLine(this.#lines)) !== "sealed") throw new Error("memory cannot be sealed");
    this.release();
  }

  /** Ends the helper; the files stay. */
  release(): void {
    this.#child.kill("SIGKILL");
  }

  /** Ends the helper and gives the files back. */
  async close(): Promise<void> {
    this.release();
    for (const file of this.files) await file.close();
  }
}

/** One more view of a file in memory, with a position of its own. */
export function reopen(file: FileHandle, flags: "r" | "r+"): Promise<FileHandle> {
  return open(`/proc/self/fd/${file.fd}`, flags);
}

async function nextLine(lines: AsyncIterator<string>): Promise<string> {
  const { value, done } = await lines.next();
  if (done) throw new Error("the helper for sealed memory ended");
  return value;
}
