/** The scopes there are: those that the served methods declare. */
import { accessOf } from "@devmesh/mesh/interceptors";
import type { ServiceRegistration } from "@devmesh/mesh/server";

/** Every scope of the services' methods, sorted. */
export function scopesOf(services: readonly Pick<ServiceRegistration, "desc">[]): string[] {
  const scopes = services.flatMap(({ desc }) =>
    desc.methods.map((method) => accessOf(method)?.scope ?? ""),
  );
  return [...new Set(scopes)].filter((scope) => scope !== "").sort();
}
