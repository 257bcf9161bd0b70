/** The port by which things without an owner are found, one kind at a time. */

/** A kind of thing that a sandbox is made of on its host. */
export type LeftoverKind =
  | "process"
  | "mount"
  | "loop device"
  | "control group"
  | "folder"
  /** A half of something that is kept: of a snapshot, of a disk, of an image. */
  | "draft"
  | "door"
  | "container"
  | "network"
  | "volume";

/** Something that is there and may have no owner any more. */
export interface Leftover {
  readonly kind: LeftoverKind;
  /** For people: a path, a process, a device. */
  readonly name: string;
  /** The sandbox that it was made for; empty where that is not known. */
  readonly sandboxId: string;
  /** Takes it away. Does nothing if it is gone, or is another's by now. */
  remove(): Promise<void>;
}

/** What a finder may know. */
export interface FinderContext {
  /** The host's state folder, without links. */
  readonly stateDir: string;
  /** Sandboxes that the journals of dead processes of this folder name. */
  readonly orphaned: ReadonlySet<string>;
}

/**
 * Finds things of one kind that this state folder's sandboxes may have left,
 * those in use among them: who is alive is judged by the caller, afterwards.
 * Never names what cannot be this folder's. Nothing where a host can have no such
 * things; throws where it is not known what there is.
 */
export interface LeftoverFinder {
  readonly kind: LeftoverKind;
  find(context: FinderContext): Promise<Leftover[]>;
}
