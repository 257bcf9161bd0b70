/** Attempts to keep more than the caps give where a look at programs and folders does not show it. */
import type { Attempt, AttemptContext } from "../attempt.ts";
import { beyond } from "./limits.ts";

/** What is kept this long is seen by whatever only looks from time to time. */
const keepS = 4;

/** Takes `take` MiB at a time until it has `$most` or gets no more, keeps it, and says how much that was. */
function keeping(most: string, take: string): string {
  return `
print "KEPT 1\\n";
my $block = 'x' x (1 << 20);
my $step = 4;
my $most = ${most};
my ($sum, @held) = (0);
${take}
while ($sum < $most) { last unless take(); $sum += $step }
my $until = time + ${keepS};
select undef, undef, undef, 0.1 while time < $until;
print "KEPT $sum\\n";`;
}

const moreMemory = "$ENV{MEMORY_MIB} + 96";
const moreDisk = "2 * $ENV{DISK_MIB} + 16";
const memory = ({ room }: AttemptContext) => room.limits.memoryMib;
const disk = ({ room }: AttemptContext) => room.limits.diskMib;

/** Zeros that are read to an address are pages that are in use. */
const touch = String.raw`
sysopen(my $zero, '/dev/zero', O_RDONLY);
sub touched { my ($at) = @_; return $at > 0 && call('read', fileno $zero, $at, $step << 20) == $step << 20 }`;

const common = { kind: "escape", fresh: true, mayDie: true, timeoutMs: 60_000 } as const;

/** What they keep has no name, or lies where its owner alone could look. */
export const heldAttempts: readonly Attempt[] = [
  {
    ...common,
    name: "memory-by-memfd",
    what: "files in memory without a name hold more than the memory cap says",
    perl: keeping(
      moreMemory,
      String.raw`
sub take {
  my $name = "fill\0";
  my $fd = call('memfd_create', $name, 0);
  return 0 if $fd < 0;
  open(my $f, '+<&=', $fd) or return 0;
  for (1 .. $step) { return 0 unless syswrite($f, $block) == length $block }
  push @held, $f;
}`,
    ),
    judge: beyond("KEPT", memory),
  },
  {
    ...common,
    name: "memory-by-shared-maps",
    what: "memory that is shared with nobody yet holds more than the memory cap says",
    perl: keeping(
      moreMemory,
      String.raw`${touch}
sub take { return touched(call('mmap', 0, $step << 20, 3, 0x21, -1, 0)) }`,
    ),
    judge: beyond("KEPT", memory),
  },
  {
    ...common,
    name: "memory-by-system-v",
    what: "shared memory that no process has attached holds more than the memory cap says",
    perl: keeping(
      moreMemory,
      String.raw`${touch}
sub take {
  my $id = call('shmget', 0, $step << 20, 0600);
  return 0 if $id < 0;
  my $at = call('shmat', $id, 0, 0);
  return touched($at) && call('shmdt', $at) == 0;
}`,
    ),
    judge: beyond("KEPT", memory),
  },
  {
    ...common,
    name: "memory-by-hidden-program",
    what: "a program that its own user may not look at holds more than the memory cap says",
    perl: keeping(
      moreMemory,
      String.raw`
call('prctl', 4, 0, 0, 0, 0);
sub take {
  my $name = "fill\0";
  my $fd = call('memfd_create', $name, 0);
  return 0 if $fd < 0;
  open(my $f, '+<&=', $fd) or return 0;
  for (1 .. $step) { return 0 unless syswrite($f, $block) == length $block }
  push @held, $f;
}`,
    ),
    judge: beyond("KEPT", memory),
  },
  {
    ...common,
    name: "disk-by-nameless-files",
    what: "files that are open and have no name hold more than the disk cap says",
    perl: keeping(
      moreDisk,
      String.raw`
sub take {
  my $path = "/work/fill-$nonce-$sum";
  sysopen(my $f, $path, O_CREAT | O_RDWR) or return 0;
  unlink $path;
  for (1 .. $step) { return 0 unless syswrite($f, $block) == length $block }
  push @held, $f;
}`,
    ),
    judge: beyond("KEPT", disk),
  },
  {
    ...common,
    name: "disk-in-closed-folders",
    what: "folders that their owner may not read hold more than the disk cap says",
    perl: keeping(
      moreDisk,
      String.raw`
mkdir "/work/closed-$nonce" or 1;
chmod 0300, "/work/closed-$nonce";
sub take {
  sysopen(my $f, "/work/closed-$nonce/fill-$sum", O_CREAT | O_RDWR) or return 0;
  for (1 .. $step) { return 0 unless syswrite($f, $block) == length $block }
  return 1;
}`,
    ),
    judge: beyond("KEPT", disk),
  },
];
