/** Folders for one test, removed after it. */
import { cp, mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The example that the agent works on. */
export const ledgerFolder = join(import.meta.dirname, "../../examples/ledger");

/** Makes folders and removes them. */
export class TempFolders {
  readonly #made: string[] = [];

  /** An empty folder, as its real path. */
  async make(): Promise<string> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), "devmesh-agent-")));
    this.#made.push(folder);
    return folder;
  }

  /** A copy of the example. */
  async ledger(): Promise<string> {
    const folder = await this.make();
    await cp(ledgerFolder, folder, { recursive: true });
    return folder;
  }

  /** Removes all of them. */
  async clear(): Promise<void> {
    for (const folder of this.#made.splice(0)) await rm(folder, { recursive: true, force: true });
  }
}
