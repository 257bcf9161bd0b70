/** Finds what dead processes of a state folder left in a container engine, by the labels of it. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Leftover, LeftoverFinder } from "../../sandboxes/leftover.ts";
import { isAlive, parseOwner } from "../owner.ts";
import { labels } from "./container-options.ts";
import { Engine, type Labelled } from "./engine.ts";

/** Where to look. */
export interface EngineFinderOptions {
  /** The engine's Unix socket. */
  readonly socketPath: string;
  /** The driver whose sandboxes they were. */
  readonly driver: "docker" | "gvisor";
}

/** Containers, then the networks and volumes that they may have used. */
export function engineFinder({ socketPath, driver }: EngineFinderOptions): LeftoverFinder {
  const engine = new Engine({ socketPath, driver });
  return {
    kind: "container",
    find: async ({ stateDir }) => {
      const label = stateLabelOf(join(stateDir, driver));
      const there = [
        ...(await engine.list(label)),
        ...(await engine.networks(label)),
        ...(await engine.volumes(label)),
      ];
      const found: Leftover[] = [];
      for (const one of there) if (!(await isOwned(one))) found.push(leftoverOf(engine, one));
      return found;
    },
  };
}

/** The label of all that the sandboxes in this folder are made of, and of nothing else. */
export function stateLabelOf(base: string): string {
  return `${labels.state}=${stateOf(base)}`;
}

/** Names a state folder in labels, so that several drivers can share one engine. */
export function stateOf(base: string): string {
  return createHash("sha256").update(base).digest("hex").slice(0, 16);
}

async function isOwned(one: Labelled): Promise<boolean> {
  const owner = parseOwner(one.labels[labels.owner] ?? "");
  return owner !== undefined && (await isAlive(owner));
}

function leftoverOf(engine: Engine, one: Labelled): Leftover {
  const { kind, id } = one;
  const sandboxId = one.labels[labels.sandbox] ?? "";
  return { kind, name: id, sandboxId, remove: () => engine.removeLabelled(one) };
}
