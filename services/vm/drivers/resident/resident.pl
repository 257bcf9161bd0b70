#!/usr/bin/perl -w
# The resident agent of a sandbox: its process 1. It starts programs for the host, carries
# their output and input over one channel, and bridges the sandbox's doors. What may run and
# for how long is the host's business. Long because it reaches sandboxes as one file.
#
# Without arguments it is a guest's: root, one virtio-serial port, a cgroup for each program.
# With `cage IN OUT` it is that of a container or namespace: an ordinary user without rights,
# whose channel is the file descriptors IN and OUT; with `cage PATH` a Unix socket that it
# connects to. It finds a program's children by kinship and by a variable that they inherit.
#
# Frame: u32 length of the payload, u8 type, u32 stream, payload; big endian.
# A list is a sequence of (u32 length, bytes). The other end of the protocol,
# with the meaning of each frame, is services/vm/drivers/resident/frames.ts.
#
# No modules but strict: each one costs boot time under emulation.
use strict;

# Types of frames.
sub CONFIG() { 1 } sub HELLO() { 2 } sub READY() { 3 } sub OPEN() { 4 } sub STARTED() { 5 }
sub FAILED() { 6 } sub DATA() { 7 } sub STDERR_DATA() { 8 } sub EOF() { 9 } sub CREDIT() { 10 }
sub SIGNAL() { 11 } sub EXIT() { 12 } sub CLOSE() { 13 } sub READ() { 14 }
# Bounds.
sub WINDOW() { 262144 } sub CHUNK() { 32768 } sub OUT_MAX() { 131072 } sub MAX_BRIDGES() { 64 }
sub FULL() { 4194304 }    # a disk with less room than this and a 32nd of it is full
# Errors and flags.
sub EINTR() { 4 } sub EAGAIN() { 11 } sub WNOHANG() { 1 }
# What ended a program or stood in its way: flags of EXIT.
sub OUT_OF_MEMORY() { 1 } sub OUT_OF_PIDS() { 2 } sub OUT_OF_DISK() { 4 }
# System calls of a guest, which is x86-64.
sub SYS_SETGROUPS() { 116 } sub SYS_SETRESUID() { 117 } sub SYS_SETRESGID() { 119 }
sub SYS_MOUNT() { 165 } sub SYS_REBOOT() { 169 } sub SYS_SETHOSTNAME() { 170 }
sub SYS_SETTIME() { 227 }
# Those that every resident needs; a cage has the processor of its host.
my %CALLS = (
    0x3e => { SIGMASK => 14, SIGNALFD => 289, SETSID => 112, PRCTL => 157, STATFS => 137, EXIT => 231 },
    0xb7 => { SIGMASK => 135, SIGNALFD => 74, SETSID => 157, PRCTL => 167, STATFS => 43, EXIT => 94 },
);
my $CALL = $CALLS{ machine() } || die 'neither x86-64 nor arm64';

my ($CAGE, @CHANNEL) = @ARGV[0 .. 2];    # absent: a guest
my $JOB = '/sys/fs/cgroup/job';    # parent of one cgroup per program
my $UID = 1000;
my $MARK = 'DEVMESH_EXEC';         # the variable that marks a program's children
# What a cage's kernel counts for it, where the cage is shown that: file, line, flag.
my $GROUPS = '/sys/fs/cgroup';
my @COUNTERS = !$CAGE ? ["$JOB/pids.events", 'max', OUT_OF_PIDS] : grep { -r $_->[0] }
    ["$GROUPS/memory/memory.oom_control", 'oom_kill', OUT_OF_MEMORY],
    ["$GROUPS/memory.events", 'oom_kill', OUT_OF_MEMORY],
    ["$GROUPS/pids/pids.events", 'max', OUT_OF_PIDS], ["$GROUPS/pids.events", 'max', OUT_OF_PIDS];

# What the job's user needs for nothing, and what most ways to root in a kernel began with.
# mount umount2 pivot_root chroot unshare setns swapon swapoff reboot sethostname
# init_module delete_module finit_module kexec_load kexec_file_load bpf perf_event_open
# userfaultfd io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key
# open_by_handle_at open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr
# iopl ioperm acct quotactl syslog modify_ldt
my @DENIED = (165, 166, 155, 161, 272, 308, 167, 168, 169, 170, 175, 176, 313, 246, 320, 321,
    298, 323, 425, 426, 427, 250, 248, 249, 304, 428, 429, 430, 431, 432, 433, 442, 172, 173, 163,
    179, 103, 154);
my $FILTER = seccomp_filter();

my (%streams, %by_pid, %groups);   # id => stream; pid => stream; id => cgroup not yet empty
my ($in, $out, $heard) = ('', '', 0);
my (@doors, $next_bridge, $bridges);    # each door: a name and a socket that listens
($next_bridge, $bridges) = (0x80000001, 0);
# What a configuration may hold, each with the number of its words.
my %SETTINGS = (clock => [2, \&set_clock], limits => [3, \&set_limits],
    'new-job' => [0, \&make_job], identity => [2, \&set_identity], entropy => [1, \&add_entropy],
    mount => [3, \&mount_tool], door => [2, \&open_door], 'end-programs' => [0, \&end_programs]);

$0 = join ' ', 'agent', @ARGV > 3 ? $ARGV[3] : ();    # a cage's may bear a name
$SIG{PIPE} = 'IGNORE';
my $deaths = death_notes();
$CAGE ? enter_cage() : prepare();
my ($port, $port_out) = $CAGE ? take_channel() : open_port();
send_frame(HELLO, 0, '');
turn() while 1;

# --- the loop ---------------------------------------------------------------

sub turn {
    my ($r, $w, %on_read, %on_write) = ('', '');
    my $watch = sub { my ($set, $map, $fh, $do) = @_;
        vec($$set, fileno($fh), 1) = 1; $map->{fileno $fh} = $do };
    $watch->(\$r, \%on_read, $port, \&read_port);
    $watch->(\$w, \%on_write, $port_out, \&write_port) if length $out;
    $watch->(\$r, \%on_read, $deaths, \&reap);
    for my $door ($bridges < MAX_BRIDGES ? @doors : ()) {
        $watch->(\$r, \%on_read, $door->{listener}, sub { accept_bridge($door) });
    }
    for my $s (values %streams) {
        $watch->(\$r, \%on_read, $s->{status}, sub { read_status($s) }) if $s->{status};
        if ($s->{credit} > 0 && length($out) < OUT_MAX) {
            for my $type (keys %{ $s->{from} }) {
                $watch->(\$r, \%on_read, $s->{from}{$type}, sub { read_from($s, $type) });
            }
        }
        $watch->(\$w, \%on_write, $s->{to}, sub { write_to($s) }) if $s->{to} && length $s->{pending};
    }
    my $n = select $r, $w, undef, undef;
    return if $n <= 0;
    for my $fd (keys %on_write) { $on_write{$fd}->() if vec($w, $fd, 1) }
    for my $fd (keys %on_read) { $on_read{$fd}->() if vec($r, $fd, 1) }
}

sub read_port {
    my $n = sysread $port, $in, CHUNK, length $in;
    if (!defined $n) { return if $! == EINTR || $! == EAGAIN; the_end() }
    if ($n == 0) {
        the_end() if $CAGE || $heard;    # the host's end is closed: nobody needs this any more
        select undef, undef, undef, 0.01;    # the host's end is not announced yet
        return;
    }
    $heard = 1;
    while (length($in) >= 9) {
        my ($size, $type, $id) = unpack 'NCN', $in;
        last if length($in) < 9 + $size;
        my $payload = substr $in, 9, $size;
        substr($in, 0, 9 + $size) = '';
        on_frame($type, $id, $payload);
    }
}

sub write_port {
    my $n = syswrite $port_out, $out, CHUNK;
    if (!defined $n) { return if $! == EINTR || $! == EAGAIN; the_end() }
    substr($out, 0, $n) = '';
}

sub send_frame { my ($type, $id, $payload) = @_;
    $out .= pack('NCN', length $payload, $type, $id) . $payload }

sub on_frame {
    my ($type, $id, $payload) = @_;
    return configure(unpack '(N/a)*', $payload) if $type == CONFIG;
    return start($id, unpack '(N/a)*', $payload) if $type == OPEN;
    return look_up($id, $payload) if $type == READ;
    my $s = $streams{$id} or return;    # ended here while the frame was under way
    if ($type == DATA) { $s->{pending} .= $payload; write_to($s) }
    elsif ($type == EOF) { $s->{end} = 1; write_to($s) }
    elsif ($type == SIGNAL) { signal_program($s, unpack 'C', $payload) }
    elsif ($type == CREDIT) { $s->{credit} += unpack 'N', $payload }
    elsif ($type == CLOSE) { abandon($s) }
}

# --- set-up -----------------------------------------------------------------

# What a system has besides its root; here and not in `init`, since nothing is forked for it.
sub prepare {
    # nosuid, nodev, noexec; programs enter their groups without waiting for the whole kernel.
    mount('cgroup', '/sys/fs/cgroup', 'cgroup2', 2 | 4 | 8, 'favordynmods');
    mkdir "/dev/$_" for qw(pts shm);
    mount('devpts', '/dev/pts', 'devpts', 2 | 8, 'mode=620,ptmxmode=666');
    mount('shm', '/dev/shm', 'tmpfs', 2 | 4, 'mode=1777');
    symlink '/proc/self/fd', '/dev/fd';
    my @names = qw(stdin stdout stderr);
    symlink "/proc/self/fd/$_", "/dev/$names[$_]" for 0 .. 2;
    socket(my $socket, 2, 2, 0) or die "socket: $!";
    my $up = pack 'a16 s x14', 'lo', 1;    # IFF_UP
    ioctl($socket, 0x8914, $up) or die "lo: $!";    # SIOCSIFFLAGS
    # The root cannot be written to: what differs from guest to guest lies in /run.
    mount('tools', '/opt/devmesh', 'tmpfs', 2 | 4, 'mode=755,size=1m');
    for my $name (qw(hostname machine-id)) {
        put_file("/run/$name", '');
        mount("/run/$name", "/etc/$name", '', 4096);    # bind
    }
    put_file('/sys/fs/cgroup/cgroup.subtree_control', '+memory +pids +cpu');
    put_file('/proc/sys/user/max_user_namespaces', '0');
    make_job();
}

# The job's group, with nothing counted yet.
sub make_job {
    rmdir $_ for glob("$JOB/*/"), $JOB;
    mkdir $JOB or die "cgroup: $!\n";
    put_file("$JOB/cgroup.subtree_control", '+memory');
}

sub open_port {
    for my $name (glob '/sys/class/virtio-ports/*') {
        next unless slurp("$name/name") eq "devmesh\n";
        my ($node) = $name =~ m{([^/]+)$};
        sysopen my $fh, "/dev/$node", 2 | 2048 or die "port: $!";    # O_RDWR | O_NONBLOCK
        return ($fh, $fh);
    }
    return hear_port();
}

# Where a machine has no such port, the host calls at a port of a socket (vsock).
sub hear_port {
    socket(my $listener, 40, 1, 0) or die "there is no port named devmesh, and no vsock: $!";
    bind($listener, pack 'S x2 L L x4', 40, 1024, 0xffffffff) or die "vsock: $!";
    listen($listener, 1) or die "vsock: $!";
    accept(my $fh, $listener) or die "vsock: $!";
    nonblocking($fh);
    return ($fh, $fh);
}

# Orphans come to this process.
sub enter_cage {
    syscall($CALL->{PRCTL}, 36, 1, 0, 0, 0);    # PR_SET_CHILD_SUBREAPER
    confine() if machine() == 0x3e;
}

# The channel on descriptors of its own, which programs do not inherit.
sub take_channel {
    my ($from, $to) = @CHANNEL;
    my ($reader, $writer);
    if (defined $to) {
        open $reader, '<&', $from or die "channel: $!";
        open $writer, '>&', $to or die "channel: $!";
    } else {
        socket($reader, 1, 1, 0) or die "socket: $!";
        connect($reader, pack 'S a*', 1, "$from\0") or die "channel: $!";
        $writer = $reader;
    }
    nonblocking($_) for $reader, $writer;
    # Whatever else was handed down is no program's business.
    my %own = map { fileno $_ => 1 } $reader, $writer, $deaths;
    for my $fd (grep { $_ > 2 && !$own{$_} } names_in('/proc/self/fd')) {
        open my $stray, '<&=', $fd or next;
        close $stray;
    }
    open STDIN, '<', '/dev/null' or die "null: $!";
    open STDOUT, '>', '/dev/null' or die "null: $!";
    return ($reader, $writer);
}

# The processor's number in the header of this very program.
sub machine { open my $fh, '<', '/proc/self/exe' or return 0x3e;
    my $head; sysread $fh, $head, 20; return unpack 'x18 v', $head }

# A handle that is readable when a child has ended. A Perl handler would not do: a signal
# just before select() would be seen only after it.
sub death_notes {
    my $mask = mask_signals(17);    # SIGCHLD
    my $fd = syscall $CALL->{SIGNALFD}, -1, $mask, 8, 2048 | 524288;    # nonblocking, close on exec
    open my $fh, '<&=', $fd or die "signalfd: $!";
    return $fh;
}

sub mask_signals {
    my $mask = pack 'Q', $_[0] ? 1 << $_[0] - 1 : 0;
    syscall($CALL->{SIGMASK}, 2, $mask, 0, 8) == 0 or die "sigmask: $!";    # SIG_SETMASK
    return $mask;
}

# Everything in the order in which it is listed; READY says that all of it holds. May come again.
sub configure {
    my @list = @_;
    my $problem = eval {
        while (defined(my $kind = shift @list)) {
            my ($words, $set) = @{ $SETTINGS{$kind} || die "there is no setting $kind\n" };
            $set->(splice @list, 0, $words);
        }
        1;
    } ? '' : $@;
    send_frame($problem ? FAILED : READY, 0, $problem ? pack('(N/a*)*', 'config', 0, $problem) : '');
}

sub set_clock { syscall(SYS_SETTIME, 0, pack 'qq', @_) == 0 or die "clock: $!\n" }

sub set_limits {
    my ($memory, $pids, $cpu_us) = @_;
    put_file("$JOB/memory.max", $memory);
    put_file("$JOB/pids.max", $pids);
    put_file("$JOB/cpu.max", "$cpu_us 100000");
}

# Guests that go on from the same snapshot are told apart by these.
sub set_identity {
    my ($hostname, $machine_id) = @_;
    syscall(SYS_SETHOSTNAME, $hostname, length $hostname) == 0 or die "hostname: $!\n";
    put_file('/run/hostname', "$hostname\n");
    put_file('/run/machine-id', "$machine_id\n");
}

# Makes the kernel's random numbers differ at once from those of other guests.
sub add_entropy {
    my $bytes = pack 'H*', shift;
    open my $random, '>', '/dev/urandom' or die "random: $!\n";
    my $credit = pack 'ii a*', 8 * length $bytes, length $bytes, $bytes;
    ioctl($random, 0x40085203, $credit) or die "entropy: $!\n";     # RNDADDENTROPY
    ioctl($random, 0x5207, 0) or die "entropy: $!\n";               # RNDRESEEDCRNG
}

# Calls of another architecture do not exist; those above fail with EPERM; all others pass.
sub seccomp_filter {
    my @calls = ([0x35, 0x40000000], map { [0x15, $_] } @DENIED);    # x32's numbers, then each
    my $left = @calls;
    return join '', pack('SCCL', 0x20, 0, 0, 4), pack('SCCL', 0x15, 1, 0, 0xC000003E),
        pack('SCCL', 0x06, 0, 0, 0x00050000 | 38), pack('SCCL', 0x20, 0, 0, 0),
        (map { pack 'SCCL', $_->[0], $left--, 0, $_->[1] } @calls),
        pack('SCCL', 0x06, 0, 0, 0x7fff0000), pack('SCCL', 0x06, 0, 0, 0x00050000 | 1);
}

sub mount_tool {
    my ($serial, $path, $kind) = @_;
    my ($disk) = (slurp('/run/disks') // '') =~ /^\Q$serial\E (\S+)$/m or die "no disk $serial\n";
    my $target = $kind eq 'file' ? "/run/mounts/$serial" : $path;
    make_folders($target);
    mount($disk, $target, 'ext4', 1 | 2 | 4);    # read-only, nosuid, nodev
    return if $kind ne 'file';
    make_folders($path =~ s{/[^/]+$}{}r);
    open my $fh, '>', $path or die "$path: $!\n";
    mount("$target/file", $path, '', 4096);      # bind
}

sub mount { my ($from, $target, $type, $flags, $data) = @_;
    syscall(SYS_MOUNT, "$from", "$target", "$type", $flags + 0, $data // 0) == 0
        or die "mount $target: $!\n" }

sub make_folders { my $at = '';
    for my $part (grep { length } split m{/}, shift) { $at .= "/$part"; mkdir $at, 0755 } }

# A socket, and where a port is given the same on the loopback address.
sub open_door {
    my ($name, $port) = @_;
    my $folder = '/run/devmesh';
    mkdir $folder, 0755;
    chmod 0755, $folder;
    listen_at($name, 1, pack('S a*', 1, "$folder/$name.sock\0"));
    chmod 0666, "$folder/$name.sock";
    chmod 0555, $folder;
    listen_at($name, 2, pack('S n C4 x8', 2, $port, 127, 0, 0, 1)) if $port;
}

sub listen_at {
    my ($name, $family, $address) = @_;
    socket(my $listener, $family, 1, 0) or die "door $name: socket: $!\n";
    setsockopt($listener, 1, 2, 1) if $family == 2;    # SO_REUSEADDR
    bind($listener, $address) or die "door $name: bind: $!\n";
    listen($listener, 64) or die "door $name: listen: $!\n";
    nonblocking($listener);
    push @doors, { name => $name, listener => $listener };
}

# --- programs ---------------------------------------------------------------

# Flags: j runs as the job's user (otherwise root), l inside its limits, i with input.
sub start {
    my ($id, $flags, $cwd, $count, @rest) = @_;
    my @argv = splice @rest, 0, $count;
    my %env = @rest;
    # From the first program on. Before, an ordinary user of the host may read what holds it.
    syscall($CALL->{PRCTL}, 4, 0, 0, 0, 0) if $CAGE;    # PR_SET_DUMPABLE
    my $group = !$CAGE && $flags =~ /l/ ? "$JOB/$id" : undef;
    my $drops = !$CAGE && $flags =~ /j/;
    if ($group) { mkdir $group or return send_frame(FAILED, $id, pack '(N/a*)*', 'start', $!+0, "$!") }
    my @counts = counts();
    pipe(my $out_r, my $out_w); pipe(my $err_r, my $err_w);
    pipe(my $status_r, my $status_w);
    my ($in_r, $in_w);
    if ($flags =~ /i/) { pipe($in_r, $in_w) } else { open $in_r, '<', '/dev/null' }
    # So that the program can open its streams by their names in /dev as well.
    chown $UID, $UID, $out_w, $err_w if $drops;
    my $pid = fork;
    if (!defined $pid) { rmdir $group if $group;
        return send_frame(FAILED, $id, pack '(N/a*)*', 'start', $!+0, "$!") }
    if (!$pid) {
        my $stage = 'start';
        my $ok = eval { $SIG{PIPE} = 'DEFAULT';
            mask_signals('');
            syscall($CALL->{SETSID});
            put_file("$group/cgroup.procs", '0') if $group;
            open STDIN, '<&', $in_r or die; open STDOUT, '>&', $out_w or die;
            open STDERR, '>&', $err_w or die;
            umask 022;
            drop_rights() if $drops;
            leave_channel() if $CAGE;
            $stage = 'cwd';
            chdir $cwd or die;
            %ENV = %env;
            $ENV{$MARK} = $id if $CAGE;
            $stage = 'exec';
            $^W = 0;    # the status pipe tells it
            exec { $argv[0] } @argv };
        syswrite $status_w, pack '(N/a*)*', $stage, $!+0, "$!";
        syscall($CALL->{EXIT}, 127);
    }
    nonblocking($_) for grep { defined } $out_r, $err_r, $in_w;
    my $s = { id => $id, pid => $pid, credit => WINDOW, pending => '', to => $in_w, group => $group,
        counts => \@counts, from => { DATA, $out_r, STDERR_DATA, $err_r }, status => $status_r };
    $by_pid{$pid} = $streams{$id} = $s;
    $groups{$id} = $group if $group;
}

# A program is a process like others, and the first to go when memory is short.
sub leave_channel {
    close $port; close $port_out;
    syscall($CALL->{PRCTL}, 4, 1, 0, 0, 0);    # PR_SET_DUMPABLE
    eval { put_file('/proc/self/oom_score_adj', '500') };    # not every kernel lets us
}

sub drop_rights {
    my $list = pack 'L', $UID;
    syscall($CALL->{PRCTL}, 38, 1, 0, 0, 0) == 0 or die;    # PR_SET_NO_NEW_PRIVS
    syscall(SYS_SETGROUPS, 1, $list) == 0 or die;
    syscall(SYS_SETRESGID, $UID, $UID, $UID) == 0 or die;
    syscall(SYS_SETRESUID, $UID, $UID, $UID) == 0 or die;
    confine();
}

# On top of what an engine denies: older ones let through calls that are newer than they are.
sub confine {
    my $program = pack 'S x6 P', length($FILTER) / 8, $FILTER;
    syscall($CALL->{PRCTL}, 22, 2, $program, 0, 0) == 0 or die "seccomp: $!";    # PR_SET_SECCOMP
}

# The status pipe closes by itself when the program takes over, and carries the reason if not.
sub read_status {
    my $s = shift;
    my $why;
    my $n = sysread $s->{status}, $why, 4096;
    return if !defined $n;
    close delete $s->{status};
    if ($n) { send_frame(FAILED, $s->{id}, $why); return abandon($s) }
    send_frame(STARTED, $s->{id}, '');
    finish($s);
}

sub read_from {
    my ($s, $type) = @_;
    my $fh = $s->{from}{$type} or return;
    return if $s->{credit} <= 0;    # the other stream has just used it up
    my $size = $s->{credit} < CHUNK ? $s->{credit} : CHUNK;
    my $data;
    my $n = sysread $fh, $data, $size;
    return if !defined $n && ($! == EINTR || $! == EAGAIN);
    if ($n) { $s->{credit} -= $n; return send_frame($type, $s->{id}, $data) }
    delete $s->{from}{$type};    # closes it; a bridge's other half stays open
    if (!%{ $s->{from} }) { $s->{closed} = 1; send_frame(EOF, $s->{id}, ''); finish($s) }
}

sub write_to {
    my $s = shift;
    my $fh = $s->{to};
    if (length $s->{pending}) {
        my $n = $fh ? syswrite $fh, $s->{pending} : length $s->{pending};
        if (!defined $n) {
            return if $! == EINTR || $! == EAGAIN;
            return forget_bridge($s) if $s->{bridge};
            $n = length $s->{pending};    # nobody reads it any more: swallow it
        }
        substr($s->{pending}, 0, $n) = '';
        send_frame(CREDIT, $s->{id}, pack 'N', $n);
    }
    return if length $s->{pending} || !$s->{end} || !$s->{to};
    $s->{bridge} ? shutdown($s->{to}, 1) : close $s->{to};
    delete $s->{to};
    finish($s);
}

sub reap {
    my $drop;
    sysread $deaths, $drop, 4096;
    my $pid;
    while (($pid = waitpid -1, WNOHANG) > 0) {
        my $s = delete $by_pid{$pid} or next;
        $s->{exit} = $? & 127 ? 128 + ($? & 127) : $? >> 8;
        finish($s);
    }
    for my $id (keys %groups) { delete $groups{$id} if !$streams{$id} && rmdir $groups{$id} }
    return $pid;    # 0: some live; -1: there is none
}

# Sends what is due and forgets the stream when nothing is left to come.
sub finish {
    my $s = shift;
    if ($s->{bridge}) { forget_bridge($s) if $s->{closed} && !$s->{to}; return }
    return if $s->{status} || $s->{failed} || !defined $s->{exit};
    if (!$s->{told}++) {
        my ($kills) = $s->{group}
            ? (slurp("$s->{group}/memory.events") // '') =~ /^oom_kill (\d+)/m : 0;
        my $met = ($kills ? OUT_OF_MEMORY : 0) | ($s->{exit} && disk_is_full() ? OUT_OF_DISK : 0);
        my @counts = counts();
        for (0 .. $#counts) { $met |= $COUNTERS[$_][2] if $counts[$_] > $s->{counts}[$_] }
        send_frame(EXIT, $s->{id}, pack 'NC', $s->{exit}, $met);
    }
    return if !$s->{closed};
    delete $streams{ $s->{id} };
    delete $groups{ $s->{id} } if $s->{group} && rmdir $s->{group};
}

sub counts { return map { (slurp($_->[0]) // '') =~ /^$_->[1] (\d+)/m ? $1 : 0 } @COUNTERS }

# The host wants no more of it.
sub abandon {
    my $s = shift;
    if ($s->{bridge}) { return forget_bridge($s) }
    if ($by_pid{ $s->{pid} }) { kill 9, $s->{pid}; kill -9, $s->{pid} }
    signal_program($s, 9);
    $s->{failed} = 1;
    delete $streams{ $s->{id} };
    delete @$s{qw(from to status)};    # closes them
}

# All but this process, which the kernel signals at once: what forks meanwhile does not get by.
# That is so for process 1 alone; from any other it would reach beyond the sandbox.
sub end_programs {
    die "the resident is not process 1\n" if $$ != 1;
    for (1 .. 700) {
        kill 9, -1;
        return if reap() < 0;    # orphans are children of process 1: without any, nothing is left
        select undef, undef, undef, 0.01;
    }
    die "programs still run\n";
}

# A program may fork while its processes are listed, so list until nothing new turns up.
sub signal_program {
    my ($s, $signal) = @_;
    return if $s->{bridge};
    my $group = $s->{group};
    return if !$CAGE && !$group;
    if ($group && $signal == 9) { eval { put_file("$group/cgroup.kill", '1') }; return }
    my %sent;
    # What is stopped forks no more: all that there is gets found before the first is killed.
    my $first = $signal == 9 ? 19 : $signal;
    for (1 .. ($signal == 9 ? 100 : 5)) {
        my @new = grep { !$sent{$_}++ } $group
            ? split(/\n/, slurp("$group/cgroup.procs") // '') : family($s);
        last if !@new;
        kill $first, @new;
    }
    return if $signal != 9;
    # The program first: the end of another may make a kernel send a stopped group SIGHUP.
    kill 9, sort { ($b == $s->{pid}) <=> ($a == $s->{pid}) } keys %sent;
}

# The processes of a program: itself, what has its mark, and the children of any of them.
sub family {
    my $s = shift;
    my (%parent, %is);
    my $mark = qr/(?:^|\0)$MARK=$s->{id}(?:\0|$)/;
    for my $pid (grep { $_ != $$ } names_in('/proc')) {
        my ($state, $parent) = (slurp("/proc/$pid/stat") // '') =~ /.*\) (\S) (\d+)/s or next;
        next if $state eq 'Z' || $state eq 'X';
        $parent{$pid} = $parent;
        $is{$pid} = 1 if $by_pid{ $s->{pid} } && $pid == $s->{pid}
            || (slurp("/proc/$pid/environ") // '') =~ $mark;
    }
    my $found = -1;
    while ($found != keys %is) {
        $found = keys %is;
        $is{$parent{$_}} && ($is{$_} = 1) for keys %parent;
    }
    return keys %is;
}

# --- what the kernel says ---------------------------------------------------

# Answers with the errno and the content of a file, a link or a folder, or of `statfs:PATH` as
# block size, blocks, free blocks, nodes and free nodes.
sub look_up {
    my ($id, $what) = @_;
    my $text;
    if ($what =~ /^statfs:(.*)/s) { my @found = room($1); $text = "@found" if @found }
    elsif (-l $what) { $text = readlink $what }
    elsif (-d _) { if (opendir my $folder, $what) { $text = join "\n", readdir $folder } }
    else { $text = slurp($what) }
    my $errno = defined $text ? 0 : $!+0 || 5;
    send_frame(READ, $id, pack('N', $errno) . substr($text // '', 0, CHUNK));
}

sub room {
    my $buffer = "\0" x 256;
    my $path = "$_[0]";
    return if syscall($CALL->{STATFS}, $path, $buffer) != 0;
    my (undef, $size, $blocks, undef, $free, $nodes, $free_nodes) = unpack 'q7', $buffer;
    return ($size, $blocks, $free, $nodes, $free_nodes);
}

# A file system refuses to write while it still has some blocks for its own tables, and one
# that counts no nodes says 0 of 0.
sub disk_is_full {
    my ($size, $blocks, $free, $nodes, $free_nodes) = room('/work') or return 0;
    return $size * $free < FULL && $free < $blocks / 32 || $nodes && !$free_nodes;
}

# --- doors ------------------------------------------------------------------

sub accept_bridge {
    my $door = shift;
    accept(my $fh, $door->{listener}) or return;
    nonblocking($fh);
    my $id = $next_bridge++;
    $bridges++;
    $streams{$id} = { id => $id, bridge => 1, credit => WINDOW, pending => '', to => $fh,
        socket => $fh, from => { DATA, $fh } };
    send_frame(OPEN, $id, $door->{name});
}

sub forget_bridge {
    my $s = shift;
    delete $streams{ $s->{id} } or return;
    send_frame(CLOSE, $s->{id}, '');
    close $s->{socket};
    $bridges--;
}

# --- small things -----------------------------------------------------------

sub names_in { opendir my $folder, shift or return; return grep { /^\d+$/ } readdir $folder }

sub nonblocking { fcntl shift, 4, 2048 }    # F_SETFL, O_NONBLOCK

sub slurp { open my $fh, '<', shift or return undef; local $/; return scalar <$fh> }

sub put_file {
    my ($path, $text) = @_;
    open my $fh, '>', $path or die "$path: $!\n";
    defined syswrite $fh, $text or die "$path: $!\n";
}

sub the_end { $CAGE ? syscall($CALL->{EXIT}, 0) : power_off() }

sub power_off { syscall(SYS_REBOOT, 0xfee1dead, 672274793, 0x01234567); die 'still here' }
