/** What the two ways to search are asked and answer. */

import type { JailedPath } from "./jail.ts";

/** What is looked for, and where. */
export interface SearchQuery {
  readonly pattern: string;
  readonly glob: string | undefined;
  /** The file or folder to search. */
  readonly path: JailedPath;
  readonly isFolder: boolean;
  readonly maxMatches: number;
  readonly signal: AbortSignal;
}

/** A line that matches. */
export interface Match {
  /** Relative to the work dir. */
  readonly path: string;
  readonly line: number;
  readonly text: string;
}
