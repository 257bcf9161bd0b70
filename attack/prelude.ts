/** What every attempt's Perl program begins and ends with: how it tells, and the kernel's calls by name. */

/** Numbers of the calls that attempts make, by architecture of the sandbox. */
const numbers = {
  x86_64: {
    read: 0,
    mmap: 9,
    shmget: 29,
    shmat: 30,
    shmdt: 67,
    memfd_create: 319,
    ptrace: 101,
    syslog: 103,
    capget: 125,
    capset: 126,
    personality: 135,
    prctl: 157,
    sched_setscheduler: 144,
    pivot_root: 155,
    chroot: 161,
    acct: 163,
    settimeofday: 164,
    mount: 165,
    umount2: 166,
    swapon: 167,
    reboot: 169,
    sethostname: 170,
    iopl: 172,
    init_module: 175,
    quotactl: 179,
    kexec_load: 246,
    add_key: 248,
    keyctl: 250,
    mknodat: 259,
    unshare: 272,
    perf_event_open: 298,
    name_to_handle_at: 303,
    open_by_handle_at: 304,
    setns: 308,
    process_vm_readv: 310,
    kcmp: 312,
    finit_module: 313,
    bpf: 321,
    userfaultfd: 323,
    io_uring_setup: 425,
    open_tree: 428,
    fsopen: 430,
    pidfd_open: 434,
    clone3: 435,
    pidfd_getfd: 438,
    mount_setattr: 442,
    clone: 56,
  },
  aarch64: {
    read: 63,
    shmget: 194,
    shmat: 196,
    shmdt: 197,
    mmap: 222,
    memfd_create: 279,
    mknodat: 33,
    umount2: 39,
    mount: 40,
    pivot_root: 41,
    chroot: 51,
    quotactl: 60,
    acct: 89,
    capget: 90,
    capset: 91,
    personality: 92,
    unshare: 97,
    kexec_load: 104,
    init_module: 105,
    syslog: 116,
    ptrace: 117,
    sched_setscheduler: 119,
    reboot: 142,
    sethostname: 161,
    prctl: 167,
    settimeofday: 170,
    add_key: 217,
    keyctl: 219,
    clone: 220,
    swapon: 224,
    perf_event_open: 241,
    name_to_handle_at: 264,
    open_by_handle_at: 265,
    setns: 268,
    process_vm_readv: 270,
    kcmp: 272,
    finit_module: 273,
    bpf: 280,
    userfaultfd: 282,
    io_uring_setup: 425,
    open_tree: 428,
    fsopen: 430,
    pidfd_open: 434,
    clone3: 435,
    pidfd_getfd: 438,
    mount_setattr: 442,
  },
} as const;

function tableOf(calls: Readonly<Record<string, number>>): string {
  return Object.entries(calls)
    .map(([name, nr]) => `${name}=>${nr}`)
    .join(",");
}

/**
 * `got(what)` tells of a success. `call(name, …)` makes a call of the kernel and
 * answers what it answers, -1 with `$!` for a failure. `opens(path, flags)`
 * tells whether a file can be opened. `reaches(name, …)` tells of a call that
 * the kernel did not refuse for want of rights, whatever came of it.
 * `device(path, flags)` tells whether a device can be opened; a kernel in user space makes some
 * itself, and then what counts is what one gives: an interface, a file system.
 */
const head = `use strict; no warnings;
use Fcntl; use POSIX ();
$| = 1; $SIG{PIPE} = 'IGNORE';
my $nonce = $ENV{NONCE};
my $arch = (POSIX::uname())[4];
my %nr = $arch eq 'aarch64' ? (${tableOf(numbers.aarch64)}) : (${tableOf(numbers.x86_64)});
sub got { print "GOT $nonce @_\\n" }
sub call {
  my ($name, @args) = @_;
  if (!defined $nr{$name}) { $! = 38; return -1 }
  $! = 0;
  return syscall($nr{$name}, @args);
}
sub refused { my $e = $! + 0; return $e == 1 || $e == 13 || $e == 38 }
sub reaches {
  my ($name, @args) = @_;
  my $answer = call($name, @args);
  got("$name answered $answer") if $answer >= 0;
  got("$name was let in: $!") if $answer < 0 && !refused();
  return $answer;
}
sub opens {
  my ($path, $flags) = @_;
  my $file;
  return sysopen($file, $path, $flags | O_NONBLOCK | O_NOCTTY) ? $file : undef;
}
sub gives {
  my ($path, $file) = @_;
  return 1 unless $ENV{SIMULATED};
  if ($path =~ /tun$/) { my $wanted = pack('a16 S x22', 'tun%d', 0x1001); return ioctl($file, 0x400454ca, $wanted) }
  if ($path =~ /fuse$/) {
    mkdir '/work/fuse';
    my $how = 'fd=' . fileno($file) . ",rootmode=40000,user_id=$>,group_id=" . ($) + 0);
    return call('mount', 'fuse', '/work/fuse', 'fuse', 0, $how) == 0;
  }
  return 1;
}
sub device { my ($path, @flags) = @_; for my $how (@flags) { my $file = opens($path, $how) or next; return 1 if gives($path, $file) } return 0 }
sub slurp { my ($path) = @_; my $f = opens($path, O_RDONLY) or return ''; sysread($f, my $text, 65536); return $text // '' }
sub within { my ($s, $act) = @_; local $SIG{ALRM} = sub { die "late\\n" }; my $r = eval { alarm $s; my $r = $act->(); alarm 0; $r }; alarm 0; return $r }
`;

const tail = `\nprint "DONE $nonce\\n";\n`;

/** The whole program, for `perl -e`. */
export function wholeProgram(body: string): string {
  return `${head}${body}${tail}`;
}
