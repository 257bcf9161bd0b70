/** Owns the one table from a job's status to its icon, word and colour. */
import { type JobStatus, type JobStatusName, jobStatusName } from "@devmesh/sdk";
import type { Colour, Paint } from "./style.ts";

/** How a status looks. Never by colour alone. */
export interface StatusLook {
  readonly icon: string;
  readonly word: string;
  readonly colour: Colour;
}

/** The table. */
export const statusLooks: Readonly<Record<JobStatusName, StatusLook>> = {
  queued: { icon: "○", word: "queued", colour: "grey" },
  running: { icon: "●", word: "running", colour: "blue" },
  succeeded: { icon: "✓", word: "succeeded", colour: "green" },
  failed: { icon: "✗", word: "failed", colour: "red" },
  cancelled: { icon: "⊘", word: "cancelled", colour: "yellow" },
};

/** A status as text. */
export function showStatus(status: JobStatus, paint: Paint): string {
  const name = jobStatusName(status);
  if (name === undefined) return `? ${status}`;
  const { icon, word, colour } = statusLooks[name];
  return paint(colour, `${icon} ${word}`);
}
