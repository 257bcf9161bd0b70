/** Bubblewrap, which runs a command in namespaces of its own. */
import { ensureBinary } from "./debian.ts";
import { type Found, here, type PartOptions } from "./part.ts";

/** Finds `bwrap`, or installs Debian's bubblewrap as root. */
export async function findBubblewrap(options: PartOptions = {}): Promise<Found<{ path: string }>> {
  const path = await ensureBinary("bwrap", ["bubblewrap"], options);
  return path.ok ? here({ path: path.value }) : path;
}
