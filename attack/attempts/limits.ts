/** Attempts to use more of the host than the caps give. */
import type { Attempt, AttemptContext, Judgement } from "../attempt.ts";

/** Judges by the largest number that the program said behind `word`, against its cap. */
export function beyond(word: string, cap: (context: AttemptContext) => number) {
  return async (context: AttemptContext): Promise<Judgement> => {
    const end = await context.run();
    const told = [...end.output.matchAll(new RegExp(`^${word} (\\d+)$`, "gm"))];
    const most = Math.max(0, ...told.map(([, number]) => Number(number)));
    const limit = cap(context);
    const seen = most > limit ? [`${word.toLowerCase()} ${most}, the cap is ${limit}`] : [];
    // A program that never began has not been held by the cap.
    if (most === 0) throw new Error(`it did not begin: ${end.output.slice(-200)}`);
    return { ...end, seen };
  };
}

/** They end in a refusal of the kernel, or in the program's own end. */
export const limitAttempts: readonly Attempt[] = [
  {
    name: "fork-bomb",
    kind: "escape",
    what: "more processes run at once than the cap says",
    perl: String.raw`
my $most = 2 * $ENV{PIDS} + 20;
my @children;
for my $n (1 .. $most) {
  my $pid = fork;
  last unless defined $pid;
  if ($pid == 0) { select undef, undef, undef, 60; POSIX::_exit(0) }
  push @children, $pid;
  print "PROCESSES $n\n";
}
kill 'KILL', @children;
waitpid $_, 0 for @children;`,
    fresh: true,
    mayDie: true,
    judge: beyond("PROCESSES", ({ room }) => room.limits.pids),
  },
  {
    name: "memory-beyond-cap",
    kind: "escape",
    what: "more memory is held than the cap says",
    perl: String.raw`
my @held;
my $most = $ENV{MEMORY_MIB} + 96;
for (my $n = 8; $n <= $most; $n += 8) { push @held, 'x' x (8 << 20); print "MEMORY $n\n" }`,
    fresh: true,
    mayDie: true,
    judge: beyond("MEMORY", ({ room }) => room.limits.memoryMib),
  },
  {
    name: "disk-beyond-cap",
    kind: "escape",
    what: "more is written to work dir and scratch than the cap says",
    perl: String.raw`
my $block = 'x' x (1 << 20);
my $sum = 0;
my $most = 2 * $ENV{DISK_MIB} + 16;
for my $dir ('/work', '/tmp', '/var/tmp') {
  my $path = "$dir/fill-$nonce";
  sysopen(my $f, $path, O_CREAT | O_WRONLY) or next;
  while ($sum < $most) {
    my $n = syswrite $f, $block;
    last if !defined $n || $n < length $block;
    if (++$sum % 4 == 0) { last unless call_sync($f); print "DISK $sum\n" }
  }
}
sub call_sync { my ($f) = @_; return syscall($arch eq 'aarch64' ? 82 : 74, fileno $f) == 0 }`,
    fresh: true,
    mayDie: true,
    timeoutMs: 60_000,
    judge: beyond("DISK", ({ room }) => room.limits.diskMib),
  },
  {
    name: "memory-by-files",
    kind: "escape",
    what: "file systems in memory give more than memory and disk caps together",
    perl: String.raw`
my $block = 'x' x (1 << 20);
my $sum = 0;
my $most = $ENV{DISK_MIB} + $ENV{MEMORY_MIB} + 128;
my %seen;
my @dirs = grep { -d $_ && -w $_ && !$seen{$_}++ } map { (split)[4] } split /\n/, slurp('/proc/self/mountinfo');
for my $dir ('/dev/shm', '/run', '/work', @dirs) {
  sysopen(my $f, "$dir/fill-$nonce", O_CREAT | O_EXCL | O_WRONLY) or next;
  while ($sum < $most) {
    my $n = syswrite $f, $block;
    last if !defined $n || $n < length $block;
    if (++$sum % 4 == 0) { print "MEMORYFILES $sum\n" }
  }
}`,
    fresh: true,
    mayDie: true,
    timeoutMs: 60_000,
    judge: beyond("MEMORYFILES", ({ room }) => room.limits.diskMib + room.limits.memoryMib),
  },
];
