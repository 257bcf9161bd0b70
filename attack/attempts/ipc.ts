/** Attempts on what processes share beside files: sockets, memory, queues. */
import type { Attempt } from "../attempt.ts";

/** They talk to programs of the host without a network. */
export const ipcAttempts: readonly Attempt[] = [
  {
    name: "abstract-socket",
    kind: "escape",
    what: "an abstract Unix socket of the host answers",
    perl: String.raw`
use Socket;
socket(my $s, PF_UNIX, SOCK_STREAM, 0);
my $address = pack('S a*', AF_UNIX, "\0$ENV{ABSTRACT}");
if (connect $s, $address) { syswrite $s, "hello $nonce\n"; within(3, sub { sysread $s, my $text, 4096; print $text }) }
for my $line (split /\n/, slurp('/proc/net/unix')) {
  my ($name) = $line =~ /\s@(\S+)$/ or next;
  socket(my $t, PF_UNIX, SOCK_STREAM, 0);
  got("connected to \@$name") if connect $t, pack('S a*', AF_UNIX, "\0$name");
}`,
  },
  {
    name: "container-engine-socket",
    kind: "escape",
    what: "the socket of a container engine or of a system service answers",
    perl: String.raw`
use Socket;
my @paths = qw(/var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock /run/podman/podman.sock /run/crio/crio.sock /run/dbus/system_bus_socket /run/systemd/private /run/snapd.socket /var/run/libvirt/libvirt-sock);
my @todo = ('/run', '/var/run', '/tmp', '/work', '/var/lib', '/opt');
my $seen = 0;
while (defined(my $dir = shift @todo) && $seen < 5000) {
  opendir(my $d, $dir) or next;
  for my $name (readdir $d) {
    next if $name =~ /^\.\.?$/;
    my $path = "$dir/$name";
    $seen++;
    push @todo, $path if -d $path && !-l $path;
    push @paths, $path if -S $path && $path !~ m{^(/var)?/run/devmesh/\w+\.sock$};
  }
}
for my $path (@paths) {
  next if length $path > 100;
  socket(my $s, PF_UNIX, SOCK_STREAM, 0);
  next unless connect $s, pack_sockaddr_un($path);
  got("connected to $path");
  syswrite $s, "GET /_ping?$nonce HTTP/1.0\r\n\r\n";
  within(3, sub { sysread $s, my $text, 4096; print $text });
}`,
  },
  {
    name: "system-v-memory",
    kind: "escape",
    what: "shared memory of the host is read",
    perl: String.raw`
for my $id (grep { length } $ENV{SHM_ID}, map { (split)[1] } grep { /^\s*\d/ } split /\n/, slurp('/proc/sysvipc/shm')) {
  my $text; print $text if shmread($id, $text, 0, 64);
}`,
  },
  {
    name: "posix-memory",
    kind: "escape",
    what: "files of the host in /dev/shm are read",
    perl: String.raw`print slurp($_) for "/dev/shm/$ENV{SHM_NAME}", "/run/shm/$ENV{SHM_NAME}", "/proc/1/root/dev/shm/$ENV{SHM_NAME}";`,
  },
  {
    name: "vsock",
    kind: "escape",
    what: "a service of the host answers on the machine's own socket family",
    perl: String.raw`
use Socket;
for my $cid (1, 2) {
  for my $port (22, 80, 1024, 2375, 7200, 8080) {
    socket(my $s, 40, SOCK_STREAM, 0) or next;
    got("connected to vsock $cid:$port") if within(2, sub { connect $s, pack('S S I I a4', 40, 0, $port, $cid, '') });
  }
}`,
  },
];
