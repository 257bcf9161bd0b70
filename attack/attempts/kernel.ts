/** Attempts on calls of the kernel that a sandboxed program never needs: each is a way to its faults. */
import type { Attempt } from "../attempt.ts";

/** An attempt that makes one call, and succeeds if the kernel lets it in. */
function callAttempt(name: string, what: string, perl: string): Attempt {
  return { name, kind: "escape", what, perl };
}

/** They reach parts of the kernel that hold most of its faults. */
export const kernelAttempts: readonly Attempt[] = [
  callAttempt(
    "bpf",
    "a program is loaded into the kernel",
    String.raw`
my $attr = pack('I4', 1, 4, 4, 1) . "\0" x 112;
my $fd = call('bpf', 0, $attr, 128);
got('bpf made a map') if $fd >= 0;
my $bad = "\0" x 128;
reaches('bpf', 5, $bad, 128) if $fd < 0;`,
  ),
  callAttempt(
    "perf-events",
    "the processor's counters watch other programs",
    String.raw`
my $attr = pack('II QQ', 1, 112, 0, 0) . "\0" x 88;
reaches('perf_event_open', $attr, -1, 0, -1, 0);
$attr = pack('II QQ', 1, 112, 0, 0) . "\0" x 88;
reaches('perf_event_open', $attr, 0, -1, -1, 0);`,
  ),
  callAttempt(
    "userfaultfd",
    "the kernel is held in the middle of a copy",
    String.raw`reaches('userfaultfd', 0); reaches('userfaultfd', 1);`,
  ),
  callAttempt(
    "io-uring",
    "files and sockets are used past the filter of calls",
    String.raw`my $params = "\0" x 120; reaches('io_uring_setup', 4, $params);`,
  ),
  callAttempt(
    "keyrings",
    "keys of the kernel, which know no namespace, are made or read",
    String.raw`
reaches('add_key', 'user', "attack-$nonce", 'x', 1, -3);
reaches('keyctl', 0, -3, 1, 0, 0);
got('shows keys of others') if slurp('/proc/keys') =~ /user|logon|keyring/ && $> != 0 && slurp('/proc/self/status') !~ /NoNewPrivs:\s+1/;`,
  ),
  callAttempt(
    "load-module",
    "code is loaded into the kernel",
    String.raw`
my $image = "\0" x 64;
reaches('init_module', $image, 64, '');
my $f = opens('/etc/hostname', O_RDONLY) || opens('/proc/self/status', O_RDONLY);
reaches('finit_module', fileno($f), '', 0);`,
  ),
  callAttempt(
    "kexec",
    "another kernel is started",
    String.raw`reaches('kexec_load', 0, 0, 0, 0xffff0000 | 0xff);`,
  ),
  callAttempt(
    "swap-and-accounting",
    "the host's swap, accounting or quotas are set",
    String.raw`
reaches('swapon', '/work/none', 0);
reaches('acct', '/work/none/none');
reaches('quotactl', 0x80000300, 0, 0, 0);`,
  ),
  callAttempt(
    "host-name-and-clock",
    "the host's name or clock is set",
    String.raw`
my $name = slurp('/proc/sys/kernel/hostname'); chomp $name;
got('sethostname') if call('sethostname', $name, length $name) == 0;
got('settimeofday') if call('settimeofday', 0, 0) == 0;`,
  ),
  callAttempt("reboot", "the host is rebooted", String.raw`reaches('reboot', 0, 0, 0, 0);`),
  callAttempt(
    "port-access",
    "the hardware's ports are opened",
    String.raw`reaches('iopl', 3) if $arch ne 'aarch64';`,
  ),
  callAttempt(
    "kernel-log",
    "the kernel's messages, with its addresses, are read",
    String.raw`
my $buffer = "\0" x 4096;
my $count = call('syslog', 3, $buffer, 4096);
got("read $count bytes of the kernel's log") if $count > 0;`,
  ),
  callAttempt(
    "foreign-architecture",
    "calls of another architecture pass the filter",
    String.raw`
if ($arch eq 'x86_64') {
  my $answer = syscall(0x40000000 + 272, 0x10000000);
  got('unshare by an x32 number') if $answer == 0;
}`,
  ),
  callAttempt(
    "odd-socket-families",
    "a seldom used protocol of the kernel is opened",
    String.raw`
use Socket;
my %families = (AF_AX25 => 3, AF_IPX => 4, AF_X25 => 9, AF_KEY => 15, AF_ATMPVC => 8, AF_RDS => 21, AF_CAN => 29, AF_TIPC => 30, AF_BLUETOOTH => 31, AF_RXRPC => 33, AF_XDP => 44);
for my $name (sort keys %families) {
  for my $type (SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET) {
    got("opened $name") if socket(my $s, $families{$name}, $type, 0);
  }
}`,
  ),
];
