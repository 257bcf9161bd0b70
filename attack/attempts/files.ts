/** Attempts on the host's files, on mounts, and on the kernel's own files. */
import type { Attempt } from "../attempt.ts";

/**
 * `own(path)` is true for a setting that belongs to a namespace, where that
 * namespace is the sandbox's own: it changes nothing outside.
 */
const ownSettings = String.raw`
my ($major, $minor) = (POSIX::uname())[2] =~ /^(\d+)\.(\d+)/;
my $pids = $major > 6 || $major == 6 && $minor >= 14 ? 'ns_last_pid|cad_pid|pid_max' : 'ns_last_pid|cad_pid';
my %host = map { /^(\w+):/ ? ($1 => $_) : () } split ' ', $ENV{HOST_NAMESPACES};
sub own {
  my ($path) = @_;
  my $kind = $path =~ m{/kernel/(msg|sem|shm|auto_msgmni)|/fs/mqueue/} ? 'ipc' : $path =~ m{/kernel/($pids)$} ? 'pid' : $path =~ m{/kernel/(hostname|domainname)$} ? 'uts' : $path =~ m{/sys/net/} ? 'net' : $path =~ m{/sys/user/} ? 'user' : return 0;
  return readlink("/proc/self/ns/$kind") ne $host{$kind};
}
`;

/** They read or change what lies outside, or remake the view of it. */
export const fileAttempts: readonly Attempt[] = [
  {
    name: "read-host-file",
    kind: "escape",
    what: "a file of the host is read by its path, by .. and through /proc",
    perl: String.raw`
my $p = $ENV{HOST_FILE};
for my $at ('', '/proc/1/root', '/proc/self/root', '/proc/1/cwd/../../../..', '/work/../..', '/..', map { "/proc/$_/root" } grep { /^\d+$/ } map { s{/proc/}{}r } glob('/proc/[0-9]*')) {
  print slurp("$at$p");
}`,
  },
  {
    name: "chroot-escape",
    kind: "escape",
    what: "a second chroot with an open folder outside of it walks out",
    perl: String.raw`
mkdir '/work/jail';
opendir(my $out, '/');
if (call('chroot', "/work/jail") == 0) {
  got('chroot');
  chdir $out;
  chdir '..' for 1 .. 64;
  call('chroot', '.');
  print slurp($ENV{HOST_FILE});
}`,
    fresh: true,
  },
  {
    name: "mount-new",
    kind: "escape",
    what: "a file system is mounted by the old call",
    perl: String.raw`
mkdir '/work/mnt';
for my $type (qw(tmpfs proc sysfs cgroup cgroup2 devtmpfs overlay ext4)) {
  for my $at ('/work/mnt', '/tmp') {
    got("mounted $type") if call('mount', $type, $at, $type, 0, 0) == 0;
  }
}`,
    fresh: true,
  },
  {
    name: "mount-by-new-calls",
    kind: "escape",
    what: "a file system is opened by fsopen, open_tree or mount_setattr",
    perl: String.raw`
reaches('fsopen', 'tmpfs', 0);
got('open_tree cloned a mount') if call('open_tree', -100, '/', 1) >= 0;
my $attr = pack('Q4', 0, 1, 0, 0);
got('mount_setattr') if call('mount_setattr', -100, '/', 0, $attr, 32) == 0;`,
  },
  {
    name: "remount-writable",
    kind: "escape",
    what: "a read-only mount is made writable",
    perl: String.raw`
for my $at ('/', '/usr', '/etc', '/proc', '/sys', '/opt/devmesh') {
  got("remounted $at") if call('mount', 'none', $at, 0, 32 | 4096, 0) == 0;
  got("remounted $at") if call('mount', 'none', $at, 0, 32, 0) == 0;
}`,
    fresh: true,
  },
  {
    name: "unmount",
    kind: "escape",
    what: "a mount that hides something is taken away",
    perl: String.raw`
for my $at ('/proc/kcore', '/proc/sys', '/sys', '/tmp', '/etc') {
  got("unmounted $at") if call('umount2', $at, 2) == 0;
}`,
    fresh: true,
  },
  {
    name: "pivot-root",
    kind: "escape",
    what: "the root is exchanged",
    perl: String.raw`
mkdir '/work/new'; mkdir '/work/new/old';
reaches('pivot_root', '/work/new', '/work/new/old');`,
    fresh: true,
  },
  {
    name: "write-root",
    kind: "escape",
    what: "something is written beside the work dir and the scratch, for good",
    perl: String.raw`
for my $at ('/', '/usr', '/usr/bin', '/usr/lib', '/etc', '/bin', '/lib', '/opt', '/opt/devmesh', '/var', '/var/lib', '/root', '/home', '/boot', '/srv', '/mnt', '/media') {
  my $path = "$at/devmesh-attack-$nonce";
  next unless sysopen(my $f, $path, O_CREAT | O_WRONLY);
  got("wrote to $at"); unlink $path;
}`,
  },
  {
    name: "write-host-folder",
    kind: "escape",
    what: "a file is made in a folder of the host that is open to all",
    perl: String.raw`
for my $at ('', '/proc/1/root', '/proc/self/root', '/work/../..') {
  sysopen(my $f, "$at$ENV{HOST_TARGET}/$nonce", O_CREAT | O_WRONLY);
}`,
  },
  {
    name: "core-pattern",
    kind: "escape",
    what: "the host's kernel is told which program to run when one crashes",
    perl: String.raw`
for my $path ('/proc/sys/kernel/core_pattern', '/proc/sys/kernel/modprobe', '/proc/sys/kernel/hotplug', '/proc/sys/fs/binfmt_misc/register', '/proc/sys/vm/panic_on_oom', '/sys/kernel/uevent_helper') {
  got("opened $path for writing") if opens($path, O_WRONLY);
}`,
  },
  {
    name: "sysctl-write",
    kind: "escape",
    what: "any setting of the kernel can be written",
    perl: String.raw`${ownSettings}
my @todo = ('/proc/sys/kernel', '/proc/sys/vm', '/proc/sys/fs', '/proc/sys/net');
my $count = 0;
while (defined(my $dir = shift @todo) && $count < 4000) {
  opendir(my $d, $dir) or next;
  for my $name (readdir $d) {
    next if $name =~ /^\.\.?$/;
    my $path = "$dir/$name";
    if (-d $path) { push @todo, $path; next }
    $count++;
    next if own($path);
    my $f = opens($path, O_WRONLY) or next;
    # The one that all may open: the kernel judges the write.
    next if $name eq 'ns_last_pid' && !syswrite $f, slurp($path);
    got("opened $path for writing");
  }
}`,
  },
  {
    name: "sysrq",
    kind: "escape",
    what: "the host can be rebooted or made to panic through sysrq",
    perl: String.raw`
for my $path ('/proc/sysrq-trigger', '/proc/sys/kernel/sysrq') { got("opened $path for writing") if opens($path, O_WRONLY) }`,
  },
  {
    name: "kernel-memory",
    kind: "escape",
    what: "the kernel's memory or its messages are read",
    perl: String.raw`
for my $path (qw(/proc/kcore /dev/mem /dev/kmem /dev/port /dev/kmsg /proc/kmsg /proc/kpageflags /proc/vmcore)) {
  my $f = opens($path, O_RDONLY) or next;
  got("read $path") if sysread($f, my $byte, 64);
}
got('addresses of the kernel are shown') if slurp('/proc/kallsyms') =~ /^(?!0+ )[0-9a-f]{8,} /m;`,
  },
  {
    name: "sys-write",
    kind: "escape",
    what: "a device or the power of the host is steered through /sys",
    perl: String.raw`
my @paths = ('/sys/power/state', '/sys/kernel/mm/ksm/run', '/sys/kernel/profiling', '/sys/module', glob('/sys/bus/*/drivers_probe'), glob('/sys/class/net/*/mtu'), glob('/sys/block/*/queue/nr_requests'), glob('/sys/devices/system/cpu/cpu*/online'), glob('/sys/firmware/efi/efivars/*'), glob('/sys/kernel/security/*'), glob('/sys/kernel/debug/*'), glob('/sys/kernel/tracing/*'));
for my $path (@paths) { got("opened $path for writing") if -f $path && opens($path, O_WRONLY) }`,
  },
  {
    name: "cgroup-release-agent",
    kind: "escape",
    what: "the host is told to run a program when a control group empties",
    perl: String.raw`
my @dirs = ('/sys/fs/cgroup', glob('/sys/fs/cgroup/*'));
for my $dir (@dirs) {
  got("made a group in $dir") if mkdir "$dir/devmesh-attack-$nonce";
  rmdir "$dir/devmesh-attack-$nonce";
  for my $name (qw(release_agent notify_on_release cgroup.subtree_control)) {
    got("opened $dir/$name for writing") if opens("$dir/$name", O_WRONLY);
  }
}
mkdir '/work/cg';
got('mounted a control group') if call('mount', 'cgroup', '/work/cg', 'cgroup', 0, 'memory') == 0;
got('mounted cgroup2') if call('mount', 'none', '/work/cg', 'cgroup2', 0, 0) == 0;`,
    fresh: true,
  },
  {
    name: "cgroup-raise-own-caps",
    kind: "escape",
    what: "the sandbox lifts its own caps or leaves its group",
    perl: String.raw`
my @files;
for my $line (split /\n/, slurp('/proc/self/cgroup')) {
  my (undef, $controllers, $path) = split /:/, $line, 3;
  for my $base ('/sys/fs/cgroup', map { "/sys/fs/cgroup/$_" } split(/,/, $controllers), $controllers) {
    for my $at ($path, '') {
      push @files, map { "$base$at/$_" } qw(memory.limit_in_bytes memory.max pids.max cpu.cfs_quota_us cpu.max cgroup.procs tasks);
    }
  }
}
for my $path (@files) { got("opened $path for writing") if opens($path, O_WRONLY) }`,
  },
  {
    name: "open-by-handle",
    kind: "escape",
    what: "a file of the host is opened by its inode number, past every mount",
    perl: String.raw`
my $handle = pack('II', 128, 0) . "\0" x 128;
my $mount = pack('i', 0);
for my $at ('/work', '/etc/hostname', '/usr') {
  next unless opens($at, O_RDONLY);
  call('name_to_handle_at', -100, $at, $handle, $mount, 0);
  my $root = pack('IIQ', 8, 1, 2);
  my $f = opens($at, O_RDONLY);
  reaches('open_by_handle_at', fileno($f), $root, 0);
}`,
  },
  {
    name: "setuid-program",
    kind: "escape",
    what: "a program with the setuid bit gives root",
    perl: String.raw`
my ($frozen) = slurp('/proc/self/status') =~ /NoNewPrivs:\s+(\d)/;
my @found = grep { -u $_ && (stat $_)[4] == 0 } glob('/bin/* /usr/bin/* /sbin/* /usr/sbin/* /usr/lib/*/*');
# A kernel that does not tell is asked by doing. What has ended keeps its user until it is waited for.
sub raised {
  my ($path) = @_;
  my $pid = fork // return 0;
  if ($pid == 0) { open STDIN, '<', '/dev/null'; open STDOUT, '>', '/dev/null'; open STDERR, '>', '/dev/null'; exec { $path } $path, '--help' or POSIX::_exit(1) }
  select undef, undef, undef, 0.5;
  my ($user) = slurp("/proc/$pid/status") =~ /^Uid:\s+\d+\s+(\d+)/m;
  kill 'KILL', $pid; waitpid $pid, 0;
  return defined $user && $user == 0;
}
for my $path ($frozen || $> == 0 ? () : @found) { got("$path raised its rights") if raised($path) }
if (sysopen(my $f, '/work/suid', O_CREAT | O_WRONLY, 0755)) { chown 0, 0, '/work/suid'; chmod 04755, '/work/suid'; my @s = stat '/work/suid'; got('made a setuid file of root') if $s[4] == 0 && $s[2] & 04000 && !$frozen }`,
  },
];
