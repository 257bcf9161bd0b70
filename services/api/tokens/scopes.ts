/** The scopes there are: those that the served methods declare, and the administrator's. */
import type { Principal } from "@devmesh/mesh/context";
import { accessOf } from "@devmesh/mesh/interceptors";
import type { ServiceRegistration } from "@devmesh/mesh/server";

/** Sees and acts on what belongs to any owner. No method asks for it alone. */
export const adminScope = "admin:owners";

/**
 * How a token says that it holds every scope, also those that later versions
 * add. Only the deployment's owner and consoles opened by its token have it:
 * CreateToken takes no such scope.
 */
export const allScopes = "*";

/** Every scope there is, sorted. */
export function scopesOf(services: readonly Pick<ServiceRegistration, "desc">[]): string[] {
  const scopes = services.flatMap(({ desc }) =>
    desc.methods.map((method) => accessOf(method)?.scope ?? ""),
  );
  return [...new Set([...scopes, adminScope])].filter((scope) => scope !== "").sort();
}

/** The owner whose resources the caller may list; undefined: everybody's. */
export function visibleOwner({ owner, scopes }: Principal): string | undefined {
  return scopes.has(adminScope) ? undefined : owner;
}
