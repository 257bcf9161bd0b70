/** Attempts on namespaces, rights, and the host's processes. */
import type { Attempt } from "../attempt.ts";

/** They gain rights, or touch processes outside. */
export const processAttempts: readonly Attempt[] = [
  {
    name: "unshare-user-namespace",
    kind: "escape",
    what: "a user namespace of its own gives all capabilities in it",
    perl: String.raw`
got('unshare(CLONE_NEWUSER)') if call('unshare', 0x10000000) == 0;
my ($eff) = slurp('/proc/self/status') =~ /CapEff:\s+([0-9a-f]+)/;
got("holds capabilities $eff") if $eff !~ /^0+$/;`,
    fresh: true,
  },
  {
    name: "clone-user-namespace",
    kind: "escape",
    what: "a child in a user namespace of its own holds capabilities",
    perl: String.raw`
my $pid = call('clone', 0x10000000 | 17, 0, 0, 0, 0);
if ($pid == 0) { syscall($arch eq 'aarch64' ? 94 : 231, 0) }
# Rights over a kernel in user space are worth nothing outside of it.
if ($pid > 0) { got('clone(CLONE_NEWUSER)') unless $ENV{SIMULATED}; waitpid $pid, 0 }
my $args = pack('Q8', 0x10000000, 0, 0, 0, 17, 0, 0, 0);
$pid = call('clone3', $args, 64);
if ($pid == 0) { syscall($arch eq 'aarch64' ? 94 : 231, 0) }
if ($pid > 0) { got('clone3(CLONE_NEWUSER)') unless $ENV{SIMULATED}; waitpid $pid, 0 }`,
  },
  {
    name: "unshare-other-namespaces",
    kind: "escape",
    what: "namespaces of mounts, networks or pids are made",
    perl: String.raw`
my %kinds = (mnt => 0x20000, cgroup => 0x2000000, uts => 0x4000000, ipc => 0x8000000, pid => 0x20000000, net => 0x40000000);
for my $kind (sort keys %kinds) { got("unshare of $kind") if call('unshare', $kinds{$kind}) == 0 }`,
    fresh: true,
  },
  {
    name: "join-namespaces",
    kind: "escape",
    what: "the sandbox joins a namespace that is not its own",
    perl: String.raw`
for my $pid ($ENV{VICTIM}, map { s{/proc/}{}r } glob('/proc/[0-9]*')) {
  for my $kind (qw(user mnt pid net ipc uts cgroup)) {
    my $own = readlink "/proc/self/ns/$kind";
    my $other = readlink "/proc/$pid/ns/$kind";
    next if !defined $other || !defined $own || $own eq $other;
    my $f = opens("/proc/$pid/ns/$kind", O_RDONLY) or next;
    got("joined the $kind namespace of $pid") if call('setns', fileno($f), 0) == 0;
  }
}`,
    fresh: true,
  },
  {
    name: "hold-capabilities",
    kind: "escape",
    what: "a capability is held, or can be taken",
    perl: String.raw`
my $status = slurp('/proc/self/status');
for my $set (qw(Inh Prm Eff Amb)) {
  my ($word) = $status =~ /Cap$set:\s+([0-9a-f]+)/;
  # Not every kernel tells of each set.
  got("Cap$set is $word") if defined $word && $word !~ /^0+$/;
}
my $header = pack('II', 0x20080522, 0);
my $all = pack('I6', (0xffffffff) x 6);
got('capset') if call('capset', $header, $all) == 0;`,
  },
  {
    name: "become-root",
    kind: "escape",
    what: "the program is root, or becomes root by asking",
    perl: String.raw`
got('the user is root') if $> == 0 || $< == 0;
POSIX::setuid(0); got('setuid(0)') if $> == 0;
POSIX::setgid(0); got('setgid(0)') if ($) + 0) == 0;`,
  },
  {
    name: "see-host-processes",
    kind: "escape",
    what: "arguments and variables of the host's processes are read",
    perl: String.raw`
for my $pid ($ENV{VICTIM}, map { s{/proc/}{}r } glob('/proc/[0-9]*')) {
  print slurp("/proc/$pid/cmdline"), "\n", slurp("/proc/$pid/environ"), "\n";
}`,
  },
  {
    name: "kill-host-process",
    kind: "escape",
    what: "a process of the host is ended by its number",
    perl: String.raw`
my $pid = $ENV{VICTIM};
kill 'KILL', $pid if $pid > 1 && $pid != $$ && slurp("/proc/$pid/stat") !~ /\(perl\)|\(sh\)/;`,
  },
  {
    name: "trace-host-process",
    kind: "escape",
    what: "a process of the host is stopped and read by ptrace",
    perl: String.raw`
my $pid = $ENV{VICTIM} + 0;
my $own = slurp("/proc/$pid/cmdline") =~ /perl/;
if (!$own && call('ptrace', 16, $pid, 0, 0) == 0) { got("attached to $pid"); call('ptrace', 17, $pid, 0, 0) }
got("seized $pid") if !$own && call('ptrace', 0x4206, $pid, 0, 0) == 0;`,
  },
  {
    name: "read-host-process-memory",
    kind: "escape",
    what: "the memory of a process of the host is read",
    perl: String.raw`
my $pid = $ENV{VICTIM} + 0;
if (slurp("/proc/$pid/cmdline") !~ /perl/) {
  my ($from) = slurp("/proc/$pid/maps") =~ /^([0-9a-f]+)-/;
  got("read the map of $pid") if defined $from;
  my $f = opens("/proc/$pid/mem", O_RDONLY);
  got("opened the memory of $pid") if $f;
  my $buffer = "\0" x 16;
  my $local = pack('pQ', $buffer, 16);
  my $remote = pack('QQ', defined $from ? hex $from : 4096, 16);
  got("process_vm_readv of $pid") if call('process_vm_readv', $pid, $local, 1, $remote, 1, 0) > 0;
}`,
  },
  {
    name: "steal-descriptor",
    kind: "escape",
    what: "an open file of a process of the host is taken over",
    perl: String.raw`
my $pid = $ENV{VICTIM} + 0;
if (slurp("/proc/$pid/cmdline") !~ /perl/) {
  my $fd = call('pidfd_open', $pid, 0);
  got("pidfd of $pid") if $fd >= 0;
  got("took a file of $pid") if $fd >= 0 && call('pidfd_getfd', $fd, 0, 0) >= 0;
}`,
  },
  {
    name: "own-runner",
    kind: "escape",
    what: "what runs the sandbox's programs is halted, traced or read from inside",
    perl: String.raw`
for my $pid (1, getppid()) {
  next if $pid <= 0;
  kill 'STOP', $pid;
  if (call('ptrace', 16, $pid, 0, 0) == 0) { got("attached to $pid, which runs it"); within(2, sub { waitpid $pid, 0x40000000 }); kill 'CONT', $pid; call('ptrace', 17, $pid, 0, 0) }
  print slurp("/proc/$pid/environ"), "\n";
  print map { my $l = readlink($_); defined $l ? "$l\n" : '' } glob("/proc/$pid/fd/*");
}`,
    fresh: true,
    mayDie: true,
  },
  {
    name: "raise-priority",
    kind: "escape",
    what: "the sandbox takes the processor from others",
    perl: String.raw`
# A kernel in user space orders its own tasks by it, and takes no more of the host.
got('nice -10') if !$ENV{SIMULATED} && setpriority(0, 0, -10);
my $param = pack('i', 10);
got('real-time scheduling') if call('sched_setscheduler', 0, 1, $param) == 0;`,
    fresh: true,
  },
];
