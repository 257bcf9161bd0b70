/** The tiers of isolation; what each of them holds against is in `docs/threat-model.md`. */

/** How strongly a sandbox is kept apart from the host, weakest first. */
export const isolations = ["process", "container", "gvisor", "vm"] as const;

/** One of the isolation tiers. */
export type Isolation = (typeof isolations)[number];
