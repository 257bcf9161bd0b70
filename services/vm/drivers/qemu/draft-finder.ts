/** Finds halves of snapshots whose maker died. Making them is left to `snapshot-store.ts`. */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { LeftoverFinder } from "../../sandboxes/leftover.ts";
import { exclusively } from "./exclusive.ts";

/** The longest wait for the lock: whoever has it makes a draft, or removes those that there are. */
const lockLimitMs = 200;

/** Drafts of snapshots. */
export const snapshotDraftFinder: LeftoverFinder = {
  kind: "draft",
  find: async ({ stateDir }) => {
    const folder = join(stateDir, "snapshots");
    const drafts = async () => {
      const names = await readdir(folder).catch(() => []);
      return names.filter((name) => name.startsWith(".draft"));
    };
    if ((await drafts()).length === 0) return [];
    // Those that are there while nobody makes any are nobody's.
    const names = await exclusively(
      join(folder, ".lock"),
      AbortSignal.timeout(lockLimitMs),
      drafts,
    );
    return names.map((name) => {
      const path = join(folder, name);
      const remove = () => rm(path, { recursive: true, force: true });
      return { kind: "draft" as const, name: path, sandboxId: "", remove };
    });
  },
};
