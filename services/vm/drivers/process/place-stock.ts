/**
 * Keeps places ready for sandboxes to come: formatting and mounting a disk is
 * what costs most of a start. Bounded, and owned like sandboxes: what a killed
 * process leaves, the next one's `reap` removes.
 */
import { randomInt } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import type { ProcessHost } from "./host.ts";
import { makePlace, removePlace, reservePlace } from "./sandbox-place.ts";

/** Sizes of disks that are kept at a time; the one that was wanted longest ago goes. */
const mostSizes = 4;

/** How long after a start places are made for others. */
const restMs = 50;

const prefix = "sbx_ready";

/** True for the name of a place that no sandbox has been given. */
export function isReadyPlace(id: string): boolean {
  return id.startsWith(prefix);
}

/** The places that one driver keeps ready. */
export class PlaceStock {
  /** How many are kept of each size. */
  readonly #count: number;
  /** By the size of the disk in MiB, the one wanted last at the end. */
  readonly #ready = new Map<number, { host: ProcessHost; id: string }[]>();
  #filling: Promise<void> = Promise.resolve();
  readonly #closing = new AbortController();

  constructor(count: number) {
    this.#count = count;
  }

  /** The name of a place with such a disk, which is nobody else's then; undefined if none is ready. */
  take(diskMib: number): string | undefined {
    return this.#ready.get(diskMib)?.shift()?.id;
  }

  /** Makes places of that size, in the background, until there are as many as are kept. */
  want(host: ProcessHost, diskMib: number): void {
    if (this.#count === 0 || host.disk !== "image" || this.#closing.signal.aborted) return;
    const known = this.#ready.get(diskMib) ?? [];
    this.#ready.delete(diskMib);
    this.#ready.set(diskMib, known);
    this.#filling = this.#filling.then(() => this.#fill(host, diskMib));
  }

  /** Removes all of them and makes no more. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#filling;
    const all = [...this.#ready.values()].flat();
    this.#ready.clear();
    for (const { host, id } of all) await removePlace(host, id);
  }

  async #fill(host: ProcessHost, diskMib: number): Promise<void> {
    try {
      // What was just made is in a hurry; what is made ahead is not.
      await pause(restMs, undefined, { signal: this.#closing.signal, ref: false });
      while (this.#ready.size > mostSizes) await this.#dropOldest();
      for (;;) {
        const ready = this.#ready.get(diskMib);
        if (this.#closing.signal.aborted || ready === undefined || ready.length >= this.#count)
          return;
        const id = `${prefix}${process.pid}x${randomInt(1e9)}`;
        await reservePlace(host, id);
        try {
          await makePlace(host, id, diskMib);
        } catch (error: unknown) {
          await removePlace(host, id);
          throw error;
        }
        ready.push({ host, id });
      }
    } catch {
      // Closed, or no room or no right now: the next sandbox makes its own place, and tells.
    }
  }

  async #dropOldest(): Promise<void> {
    const [oldest] = this.#ready;
    if (oldest === undefined) return;
    const [diskMib, places] = oldest;
    this.#ready.delete(diskMib);
    for (const { host, id } of places) await removePlace(host, id);
  }
}
