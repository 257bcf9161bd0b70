/** Attempts on devices: making their nodes, and using those that are there. */
import type { Attempt } from "../attempt.ts";

/** They reach hardware, or a driver of the kernel. */
export const deviceAttempts: readonly Attempt[] = [
  {
    name: "mknod-block",
    kind: "escape",
    what: "the node of a disk is made and opened",
    perl: String.raw`
for my $at ('/work', '/tmp', '/dev') {
  for my $dev ([7, 0], [8, 0], [252, 0], [253, 0], [259, 0]) {
    my $path = "$at/blk-$nonce-$dev->[0]";
    next unless call('mknodat', -100, $path, 060666, $dev->[0] << 8 | $dev->[1]) == 0;
    got("opened block device @$dev") if opens($path, O_RDONLY);
    unlink $path;
  }
}`,
  },
  {
    name: "mknod-char",
    kind: "escape",
    what: "the node of the memory or of a console is made and opened",
    perl: String.raw`
for my $at ('/work', '/tmp', '/dev') {
  for my $dev ([1, 1], [1, 4], [1, 11], [4, 0], [10, 200], [10, 232], [10, 237]) {
    my $path = "$at/chr-$nonce-$dev->[0]-$dev->[1]";
    next unless call('mknodat', -100, $path, 020666, $dev->[0] << 8 | $dev->[1]) == 0;
    got("opened character device @$dev") if opens($path, O_RDONLY);
    unlink $path;
  }
}`,
  },
  {
    name: "existing-devices",
    kind: "escape",
    what: "a device that is no harmless one can be opened",
    perl: String.raw`
my %harmless = map { $_ => 1 } qw(null zero full random urandom tty ptmx);
my @todo = ('/dev');
while (defined(my $dir = shift @todo)) {
  opendir(my $d, $dir) or next;
  for my $name (readdir $d) {
    next if $name =~ /^\.\.?$/;
    my $path = "$dir/$name";
    next if -l $path;
    if (-d $path) { push @todo, $path unless $path eq '/dev/pts' || $path eq '/dev/shm'; next }
    if (-b $path) { got("opened $path") if opens($path, O_RDONLY); next }
    next unless -c $path;
    next if $harmless{$name} || $path =~ m{^/dev/(console|pts/)};
    got("opened $path") if device($path, O_RDWR, O_RDONLY);
  }
}`,
  },
  {
    name: "loop-device",
    kind: "escape",
    what: "a file system of the attacker's making is handed to the kernel",
    perl: String.raw`
my $c = opens('/dev/loop-control', O_RDWR);
got('opened /dev/loop-control') if $c;
for my $path (glob('/dev/loop[0-9]*')) { got("opened $path") if opens($path, O_RDWR) }`,
  },
  {
    name: "fuse-and-tun",
    kind: "escape",
    what: "a file system or a network of the attacker's own is made",
    perl: String.raw`
for my $path (qw(/dev/fuse /dev/net/tun /dev/kvm /dev/vhost-net /dev/vhost-vsock /dev/uinput /dev/vfio/vfio)) { got("opened $path") if device($path, O_RDWR) }`,
  },
  {
    name: "push-terminal-input",
    kind: "escape",
    what: "input is pushed into the terminal of whoever started the host (TIOCSTI)",
    perl: String.raw`
for my $path ('/dev/tty', '/dev/console', '/proc/self/fd/0', '/proc/self/fd/1', '/proc/self/fd/2', glob('/dev/pts/[0-9]*')) {
  my $f = opens($path, O_RDWR) or next;
  my $byte = ' ';
  got("pushed input into $path") if ioctl($f, 0x5412, $byte);
}`,
  },
];
