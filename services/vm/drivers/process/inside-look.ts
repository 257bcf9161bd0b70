/**
 * A look at a sandbox with rights over its user's files and nothing else: the room
 * that folders take, those among them that their owner has closed, and the System V
 * memory that its programs have made. By Perl, which every host of sandboxes has.
 */
import { runTool } from "../run-tool.ts";

/** What was seen. */
export interface InsideLook {
  /** What lies in the folders, each file once, in bytes. */
  readonly folderBytes: number;
  /** System V memory, attached or not, in bytes. */
  readonly systemVBytes: number;
}

const timeoutMs = 60_000;

/** setns, capset and prctl. */
const calls: Readonly<Partial<Record<NodeJS.Architecture, readonly number[]>>> = {
  x64: [308, 126, 157],
  arm64: [268, 91, 167],
};

/**
 * Arguments: the sandbox's first process, the three calls, folders. In the user namespace
 * of its sandbox, whoever has made that may read whatever is its user's; `du` gets that
 * one right and no other. Where it cannot be had, `du` reads what is open to it.
 */
const program = String.raw`
$| = 1;
my ($pid, $setns, $capset, $prctl, @folders) = @ARGV;
if ($setns) {
  open(my $ipc, "<", "/proc/$pid/ns/ipc") or exit 1;
  # bubblewrap nests two: the one that owns the others is asked for by NS_GET_USERNS.
  my $user = $> == 0 ? -1 : ioctl($ipc, 0xb701, 0);
  my $is_in = $> == 0 || ($user && syscall($setns, $user + 0, 0x10000000) == 0);
  if ($is_in && syscall($setns, fileno($ipc), 0x08000000) == 0) {
    my $sum = 0;
    if (open(my $list, "<", "/proc/sysvipc/shm")) {
      <$list>;
      while (<$list>) { my @row = split; $sum += $row[14] + $row[15] }
    }
    print "shm $sum\n";
  }
  if ($is_in && $> != 0) {
    my ($head, $sets) = (pack("LL", 0x20080522, 0), pack("L6", 4, 4, 4, 0, 0, 0));
    syscall($capset, $head, $sets);
    syscall($prctl, 47, 2, 2, 0, 0);
  }
}
exit 0 if !@folders;
exec "sh", "-c", 'du --summarize --total --block-size=1 "$@" 2>/dev/null || :', "sh", @folders;
exit 1`;

/** Looks. Throws if the folders cannot be measured at all, for example since they are gone. */
export async function lookInside(init: number, folders: readonly string[]): Promise<InsideLook> {
  const own = calls[process.arch] ?? [0, 0, 0];
  const words = [init, ...own].map(String);
  const text = await runTool("perl", ["-e", program, ...words, ...folders], { timeoutMs });
  const total = /^(\d+)\ttotal$/m.exec(text)?.[1];
  if (total === undefined && folders.length > 0) throw new Error("du has told no total");
  return {
    folderBytes: Number(total ?? 0),
    systemVBytes: Number(/^shm (\d+)$/m.exec(text)?.[1] ?? 0),
  };
}
