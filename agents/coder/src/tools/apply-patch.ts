/** The tool `apply_patch`: changes in several files, all of them or none. */
import { chmod, unlink } from "node:fs/promises";
import { errorCode, errorText } from "../text.ts";
import { fileError } from "./file-error.ts";
import { inParent, makeParents } from "./inside.ts";
import type { Jail, JailedPath } from "./jail.ts";
import { type FilePatch, parsePatch } from "./patch-format.ts";
import { applyHunks } from "./patch-lines.ts";
import type { Protection } from "./protection.ts";
import { readText, statOf, writeText } from "./text-file.ts";
import { type Tool, ToolError } from "./tool.ts";

/** One file before and after; undefined: it is not there. */
interface Step {
  readonly path: JailedPath;
  readonly before: string | undefined;
  readonly after: string | undefined;
  /** Permission bits to set; undefined: those it has. */
  readonly mode: number | undefined;
  readonly said: string;
}

/** Makes the tool. */
export function createApplyPatch(jail: Jail, protection: Protection): Tool {
  return {
    name: "apply_patch",
    mayChange: true,
    description:
      "Changes several files at once: all of the patch, or nothing of it. Takes a unified diff, or " +
      "`*** Begin Patch`, then for each file `*** Update File: path` (or Add File, Delete File) with " +
      "lines that begin with a space (context), - or +, and `*** End Patch`. Context and removed " +
      "lines must be in the file exactly.",
    parameters: {
      type: "object",
      properties: { patch: { type: "string", description: "The whole patch." } },
      required: ["patch"],
      additionalProperties: false,
    },
    async run(args) {
      const steps: Step[] = [];
      for (const patch of parsePatch(args.text("patch"))) {
        for (const step of await stepsOf(patch, jail)) {
          protection.check(step.path);
          const { real, shown } = step.path;
          if (steps.some((other) => other.path.real === real)) {
            throw new ToolError(`${shown}: is in the patch twice; put its changes together`);
          }
          steps.push(step);
        }
      }
      await doAll(steps);
      return steps.map(({ said }) => said).join("\n");
    },
  };
}

async function stepsOf(patch: FilePatch, jail: Jail): Promise<Step[]> {
  const path = await jail.resolve(patch.path);
  const same = { path, mode: undefined };
  switch (patch.kind) {
    case "add": {
      if (path.exists) throw new ToolError(`${path.shown}: is there already; update it`);
      const mode = patch.executable ? 0o755 : undefined;
      return [{ path, mode, before: undefined, after: patch.text, said: `added ${path.shown}` }];
    }
    case "delete": {
      const before = await readText(path);
      const left = patch.hunks.length === 0 ? "" : applyHunks(path.shown, before, patch.hunks);
      if (left !== "") throw new ToolError(`${path.shown}: the patch deletes it but leaves lines`);
      return [{ ...same, before, after: undefined, said: `deleted ${path.shown}` }];
    }
    case "update": {
      const before = await readText(path);
      const after = applyHunks(path.shown, before, patch.hunks);
      if (patch.to === patch.path) {
        const said = `changed ${path.shown} (${patch.hunks.length} places)`;
        return [{ ...same, before, after, said }];
      }
      const to = await jail.resolve(patch.to);
      if (to.exists) throw new ToolError(`${to.shown}: is there already`);
      const { mode } = await statOf(path);
      return [
        { ...same, before, after: undefined, said: `moved ${path.shown}` },
        { path: to, mode: mode & 0o777, before: undefined, after, said: `to ${to.shown}` },
      ];
    }
    default:
      return patch satisfies never;
  }
}

/** Everything was checked before; what fails all the same is undone. */
async function doAll(steps: readonly Step[]): Promise<void> {
  const done: Step[] = [];
  try {
    for (const step of steps) {
      done.push(step);
      await put(step.path, step.after, step.mode);
    }
  } catch (error) {
    const left: string[] = [];
    for (const { path, before } of done.reverse()) {
      try {
        await put(path, before, undefined);
      } catch (again) {
        if (before !== undefined) left.push(`${path.shown}: ${errorText(again)}`);
      }
    }
    const rest =
      left.length === 0 ? "nothing was changed" : `could not be undone: ${left.join("; ")}`;
    throw new ToolError(`${errorText(error)}; ${rest}`);
  }
}

async function put(
  path: JailedPath,
  text: string | undefined,
  mode: number | undefined,
): Promise<void> {
  if (text === undefined) {
    await inParent(path, async (at) => {
      await unlink(at).catch((error: unknown) => {
        // Not there: that is what was wanted.
        if (errorCode(error) !== "ENOENT") throw fileError(path.shown, error);
      });
    });
    return;
  }
  await makeParents(path);
  await writeText(path, text);
  if (mode !== undefined) await inParent(path, (at) => chmod(at, mode));
}
