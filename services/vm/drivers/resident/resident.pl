#!/usr/bin/perl -w
# The resident agent of a guest: process 1, as root. It starts programs for the
# host, carries their output and input over one virtio-serial port, and bridges
# the backend's socket. What may run and for how long is the host's business.
#
# Frame: u32 length of the payload, u8 type, u32 stream, payload; big endian.
# A list is a sequence of (u32 length, bytes). The other end of the protocol,
# with the meaning of each frame, is services/vm/drivers/resident/frames.ts.
#
# No modules but strict: each one costs boot time under emulation. The numbers of system
# calls and constants are those of Linux on x86-64.
use strict;

# Types of frames.
sub CONFIG() { 1 } sub HELLO() { 2 } sub READY() { 3 } sub OPEN() { 4 } sub STARTED() { 5 }
sub FAILED() { 6 } sub DATA() { 7 } sub STDERR_DATA() { 8 } sub EOF() { 9 } sub CREDIT() { 10 }
sub SIGNAL() { 11 } sub EXIT() { 12 } sub CLOSE() { 13 }
# Bounds.
sub WINDOW() { 262144 } sub CHUNK() { 32768 } sub OUT_MAX() { 131072 } sub MAX_BRIDGES() { 64 }
# Errors and flags.
sub EINTR() { 4 } sub EAGAIN() { 11 } sub WNOHANG() { 1 }
# System calls.
sub SYS_SIGMASK() { 14 } sub SYS_SIGNALFD() { 289 } sub SYS_SETSID() { 112 }
sub SYS_SETGROUPS() { 116 } sub SYS_SETRESUID() { 117 } sub SYS_SETRESGID() { 119 }
sub SYS_PRCTL() { 157 } sub SYS_MOUNT() { 165 } sub SYS_REBOOT() { 169 }
sub SYS_SETTIME() { 227 } sub SYS_EXIT() { 231 }

my $JOB = '/sys/fs/cgroup/job';    # parent of one cgroup per program
my $UID = 1000;

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
$0 = 'agent';
my ($listener, $next_bridge, $bridges) = (undef, 0x80000001, 0);

$SIG{PIPE} = 'IGNORE';
my $deaths = death_notes();
prepare();
my $port = open_port();
send_frame(HELLO, 0, '');
turn() while 1;

# --- the loop ---------------------------------------------------------------

sub turn {
    my ($r, $w, %on_read, %on_write) = ('', '');
    my $watch = sub { my ($set, $map, $fh, $do) = @_;
        vec($$set, fileno($fh), 1) = 1; $map->{fileno $fh} = $do };
    $watch->(\$r, \%on_read, $port, \&read_port);
    $watch->(\$w, \%on_write, $port, \&write_port) if length $out;
    $watch->(\$r, \%on_read, $deaths, \&reap);
    $watch->(\$r, \%on_read, $listener, \&accept_bridge) if $listener && $bridges < MAX_BRIDGES;
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
    if (!defined $n) { return if $! == EINTR || $! == EAGAIN; power_off() }
    if ($n == 0) {
        power_off() if $heard;    # the host's end is closed: nobody needs this guest any more
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
    my $n = syswrite $port, $out, CHUNK;
    if (!defined $n) { return if $! == EINTR || $! == EAGAIN; power_off() }
    substr($out, 0, $n) = '';
}

sub send_frame { my ($type, $id, $payload) = @_;
    $out .= pack('NCN', length $payload, $type, $id) . $payload }

sub on_frame {
    my ($type, $id, $payload) = @_;
    return configure(unpack '(N/a)*', $payload) if $type == CONFIG;
    return start($id, unpack '(N/a)*', $payload) if $type == OPEN;
    return signal_group($id, unpack 'C', $payload) if $type == SIGNAL;
    my $s = $streams{$id} or return;    # ended here while the frame was under way
    if ($type == DATA) { $s->{pending} .= $payload; write_to($s) }
    elsif ($type == EOF) { $s->{end} = 1; write_to($s) }
    elsif ($type == CREDIT) { $s->{credit} += unpack 'N', $payload }
    elsif ($type == CLOSE) { abandon($s) }
}

# --- set-up -----------------------------------------------------------------

# What a system has besides its root; here and not in `init`, since nothing is forked for it.
sub prepare {
    mount('cgroup', '/sys/fs/cgroup', 'cgroup2', 2 | 4 | 8);    # nosuid, nodev, noexec
    mkdir "/dev/$_" for qw(pts shm);
    mount('devpts', '/dev/pts', 'devpts', 2 | 8, 'mode=620,ptmxmode=666');
    mount('shm', '/dev/shm', 'tmpfs', 2 | 4, 'mode=1777');
    symlink '/proc/self/fd', '/dev/fd';
    my @names = qw(stdin stdout stderr);
    symlink "/proc/self/fd/$_", "/dev/$names[$_]" for 0 .. 2;
    socket(my $socket, 2, 2, 0) or die "socket: $!";
    my $up = pack 'a16 s x14', 'lo', 1;    # IFF_UP
    ioctl($socket, 0x8914, $up) or die "lo: $!";    # SIOCSIFFLAGS
}

sub open_port {
    for my $name (glob '/sys/class/virtio-ports/*') {
        next unless slurp("$name/name") eq "devmesh\n";
        my ($node) = $name =~ m{([^/]+)$};
        sysopen my $fh, "/dev/$node", 2 | 2048 or die "port: $!";    # O_RDWR | O_NONBLOCK
        return $fh;
    }
    die 'there is no port named devmesh';
}

# A handle that is readable when a child has ended. A Perl handler would not do: a signal
# just before select() would be seen only after it.
sub death_notes {
    my $mask = mask_signals(17);    # SIGCHLD
    my $fd = syscall SYS_SIGNALFD, -1, $mask, 8, 2048 | 524288;    # nonblocking, close on exec
    open my $fh, '<&=', $fd or die "signalfd: $!";
    return $fh;
}

sub mask_signals {
    my $mask = pack 'Q', $_[0] ? 1 << $_[0] - 1 : 0;
    syscall(SYS_SIGMASK, 2, $mask, 0, 8) == 0 or die "sigmask: $!";    # SIG_SETMASK
    return $mask;
}

# Limits first, then the tools, then the bridge; READY says that all of them hold.
sub configure {
    my ($seconds, $nanos, $memory, $pids, $cpu_us, $backend, @mounts) = @_;
    my $problem = eval {
        syscall(SYS_SETTIME, 0, pack 'qq', $seconds, $nanos) == 0 or die "clock: $!\n";
        put_file('/sys/fs/cgroup/cgroup.subtree_control', '+memory +pids +cpu');
        put_file('/proc/sys/user/max_user_namespaces', '0');
        mkdir $JOB or die "cgroup: $!\n";
        put_file("$JOB/memory.max", $memory);
        put_file("$JOB/pids.max", $pids);
        put_file("$JOB/cpu.max", "$cpu_us 100000");
        put_file("$JOB/cgroup.subtree_control", '+memory');
        mount_tool(splice @mounts, 0, 3) while @mounts;
        listen_backend() if $backend;
        1;
    } ? '' : $@;
    send_frame($problem ? FAILED : READY, 0, $problem ? pack('(N/a*)*', 'config', 0, $problem) : '');
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
    my ($disk) = grep { (slurp("$_/serial") // '') =~ /^\Q$serial\E\s*$/ } glob '/sys/block/vd*';
    die "no disk $serial\n" unless $disk;
    $disk =~ s{.*/}{/dev/};
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

sub listen_backend {
    my $path = '/run/devmesh/backend.sock';
    mkdir '/run/devmesh', 0755;
    socket($listener, 1, 1, 0) or die "socket: $!\n";
    bind($listener, pack 'S a*', 1, "$path\0") or die "bind: $!\n";
    listen($listener, 64) or die "listen: $!\n";
    chmod 0666, $path;
    nonblocking($listener);
}

# --- programs ---------------------------------------------------------------

# Flags: j runs as the job's user (otherwise root), l inside its limits, i with input.
sub start {
    my ($id, $flags, $cwd, $count, @rest) = @_;
    my @argv = splice @rest, 0, $count;
    my %env = @rest;
    my $group = $flags =~ /l/ ? "$JOB/$id" : undef;
    if ($group) { mkdir $group or return send_frame(FAILED, $id, pack '(N/a*)*', 'start', $!+0, "$!") }
    pipe(my $out_r, my $out_w); pipe(my $err_r, my $err_w);
    pipe(my $status_r, my $status_w);
    my ($in_r, $in_w);
    if ($flags =~ /i/) { pipe($in_r, $in_w) } else { open $in_r, '<', '/dev/null' }
    # So that the program can open its streams by their names in /dev as well.
    chown $UID, $UID, $out_w, $err_w if $flags =~ /j/;
    my $pid = fork;
    if (!defined $pid) { rmdir $group if $group;
        return send_frame(FAILED, $id, pack '(N/a*)*', 'start', $!+0, "$!") }
    if (!$pid) {
        my $stage = 'start';
        my $ok = eval { $SIG{PIPE} = 'DEFAULT';
            mask_signals('');
            syscall(SYS_SETSID);
            put_file("$group/cgroup.procs", '0') if $group;
            open STDIN, '<&', $in_r or die; open STDOUT, '>&', $out_w or die;
            open STDERR, '>&', $err_w or die;
            umask 022;
            drop_rights() if $flags =~ /j/;
            $stage = 'cwd';
            chdir $cwd or die;
            %ENV = %env;
            $stage = 'exec';
            $^W = 0;    # the status pipe tells it
            exec { $argv[0] } @argv };
        syswrite $status_w, pack '(N/a*)*', $stage, $!+0, "$!";
        syscall(SYS_EXIT, 127);
    }
    nonblocking($_) for grep { defined } $out_r, $err_r, $in_w;
    my $s = { id => $id, pid => $pid, credit => WINDOW, pending => '', to => $in_w, group => $group,
        from => { DATA, $out_r, STDERR_DATA, $err_r }, status => $status_r };
    $by_pid{$pid} = $streams{$id} = $s;
    $groups{$id} = $group if $group;
}

sub drop_rights {
    my $list = pack 'L', $UID;
    syscall(SYS_PRCTL, 38, 1, 0, 0, 0) == 0 or die;    # PR_SET_NO_NEW_PRIVS
    syscall(SYS_SETGROUPS, 1, $list) == 0 or die;
    syscall(SYS_SETRESGID, $UID, $UID, $UID) == 0 or die;
    syscall(SYS_SETRESUID, $UID, $UID, $UID) == 0 or die;
    my $program = pack 'S x6 P', length($FILTER) / 8, $FILTER;
    syscall(SYS_PRCTL, 22, 2, $program, 0, 0) == 0 or die;    # PR_SET_SECCOMP, filter
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
    while ((my $pid = waitpid -1, WNOHANG) > 0) {
        my $s = delete $by_pid{$pid} or next;
        $s->{exit} = $? & 127 ? 128 + ($? & 127) : $? >> 8;
        finish($s);
    }
    for my $id (keys %groups) { delete $groups{$id} if !$streams{$id} && rmdir $groups{$id} }
}

# Sends what is due and forgets the stream when nothing is left to come.
sub finish {
    my $s = shift;
    if ($s->{bridge}) { forget_bridge($s) if $s->{closed} && !$s->{to}; return }
    return if $s->{status} || $s->{failed} || !defined $s->{exit};
    if (!$s->{told}++) {
        my ($kills) = $s->{group}
            ? (slurp("$s->{group}/memory.events") // '') =~ /^oom_kill (\d+)/m : 0;
        send_frame(EXIT, $s->{id}, pack 'NC', $s->{exit}, $kills ? 1 : 0);
    }
    return if !$s->{closed};
    delete $streams{ $s->{id} };
    delete $groups{ $s->{id} } if $s->{group} && rmdir $s->{group};
}

# The host wants no more of it.
sub abandon {
    my $s = shift;
    if ($s->{bridge}) { return forget_bridge($s) }
    if ($by_pid{ $s->{pid} }) { kill 9, $s->{pid}; kill -9, $s->{pid} }
    signal_group($s->{id}, 9);
    $s->{failed} = 1;
    delete $streams{ $s->{id} };
    delete @$s{qw(from to status)};    # closes them
}

# A program may fork while its processes are listed, so list until nothing new turns up.
sub signal_group {
    my ($id, $signal) = @_;
    my $group = $groups{$id} or return;
    if ($signal == 9) { eval { put_file("$group/cgroup.kill", '1') }; return }
    my %sent;
    for (1 .. 5) {
        my @new = grep { !$sent{$_}++ } split /\n/, slurp("$group/cgroup.procs") // '';
        last if !@new;
        kill $signal, @new;
    }
}

# --- the way to the backend -------------------------------------------------

sub accept_bridge {
    accept(my $fh, $listener) or return;
    nonblocking($fh);
    my $id = $next_bridge++;
    $bridges++;
    $streams{$id} = { id => $id, bridge => 1, credit => WINDOW, pending => '', to => $fh,
        socket => $fh, from => { DATA, $fh } };
    send_frame(OPEN, $id, '');
}

sub forget_bridge {
    my $s = shift;
    delete $streams{ $s->{id} } or return;
    send_frame(CLOSE, $s->{id}, '');
    close $s->{socket};
    $bridges--;
}

# --- small things -----------------------------------------------------------

sub nonblocking { fcntl shift, 4, 2048 }    # F_SETFL, O_NONBLOCK

sub slurp { open my $fh, '<', shift or return undef; local $/; return scalar <$fh> }

sub put_file {
    my ($path, $text) = @_;
    open my $fh, '>', $path or die "$path: $!\n";
    defined syswrite $fh, $text or die "$path: $!\n";
}

sub power_off { syscall(SYS_REBOOT, 0xfee1dead, 672274793, 0x01234567); die 'still here' }
