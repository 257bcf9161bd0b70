/** Attempts by what is left in the work dir: what the host collects must not be its own. */
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { padding, tarEnd, tarHeader } from "@devmesh/vm/tar";
import type { Attempt, AttemptContext, Judgement } from "../attempt.ts";

/** Collects the work dir, while the program runs and after it. */
async function collected(context: AttemptContext): Promise<Judgement> {
  const seen = new Set<string>();
  const collect = async () => {
    try {
      const bytes = await buffer(await context.room.get());
      for (const what of context.world.toldIn(bytes)) seen.add(`the collected files hold ${what}`);
    } catch {
      // Refusing to collect such a work dir at all is a way to hold.
    }
  };
  let running = true;
  const end = context.run().finally(() => {
    running = false;
  });
  // A refusal that comes early is thrown below.
  end.catch(() => {});
  do await collect();
  while (running);
  await collect();
  return { ...(await end), seen: [...seen] };
}

/** An archive of one file. */
function tarOf(path: string, data: Buffer): Readable {
  const entry = { type: "file", path, target: "", mode: 0o644, mtimeSeconds: 0 } as const;
  const header = tarHeader({ ...entry, size: data.length });
  return Readable.from([Buffer.concat([header, data, padding(data.length), tarEnd()])]);
}

/** Every path of the host with a secret, in the program's words. */
const secretPaths = `my @host = ($ENV{HOST_FILE}, $ENV{HOST_PRIVATE}, '/etc/shadow');
my @roots = ('', '/proc/1/root', '/proc/self/root', '/proc/self/cwd/../../../../..', '/work/../../../../../..');
`;

/** They are tried each in a work dir of their own. */
export const artifactAttempts: readonly Attempt[] = [
  {
    name: "artifact-symlinks",
    kind: "escape",
    what: "a link in the work dir makes the host collect a file of its own",
    perl: String.raw`${secretPaths}
my $n = 0;
for my $host (@host) { for my $root (@roots) { symlink "$root$host", '/work/link-' . $n++ } }
symlink $ENV{HOST_FILE} =~ s{/[^/]*$}{}r, '/work/folder';
symlink '../../../../../../..', '/work/up';`,
    fresh: true,
    judge: collected,
  },
  {
    name: "artifact-hard-links",
    kind: "escape",
    what: "a hard link in the work dir gives a file of the host another owner",
    perl: String.raw`${secretPaths}
my $n = 0;
for my $host (@host, '/etc/passwd', '/usr/bin/perl') { for my $root (@roots) { my $path = '/work/hard-' . $n++; got("linked $root$host") if link "$root$host", $path } }`,
    fresh: true,
    judge: collected,
  },
  {
    name: "artifact-link-race",
    kind: "escape",
    what: "a folder that turns into a link while it is collected leads the host astray",
    perl: String.raw`
my $host = $ENV{HOST_FILE} =~ s{/[^/]*$}{}r;
mkdir '/work/real'; mkdir '/work/real/private';
for my $name ('readable.txt', 'private/secret.txt') { sysopen(my $f, "/work/real/$name", O_CREAT | O_WRONLY); syswrite $f, 'nothing' }
symlink $host, '/work/astray';
my $until = time + 3;
while (time < $until) {
  rename '/work/real', '/work/d'; rename '/work/d', '/work/real';
  rename '/work/astray', '/work/d'; rename '/work/d', '/work/astray';
}
rename '/work/astray', '/work/d';`,
    fresh: true,
    judge: collected,
  },
  {
    name: "workspace-through-link",
    kind: "escape",
    what: "files that the host puts into the work dir land outside of it",
    perl: String.raw`
for my $root ('', '/proc/1/root', '/proc/self/root', '../../../../../..') { symlink "$root$ENV{HOST_TARGET}", '/work/in' and last }`,
    fresh: true,
    judge: async (context) => {
      const end = await context.run();
      try {
        await context.room.put(tarOf(`in/${context.nonce}`, Buffer.from("put by the host")));
      } catch {
        // A refusal is a way to hold.
      }
      return { ...end, seen: [] };
    },
  },
];
