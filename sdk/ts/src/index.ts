/**
 * `@devmesh/sdk`: the SDK for browsers and every runtime that has `fetch`.
 * Node programs that upload folders or speak HTTP/2 take `@devmesh/sdk/node`.
 */
import { composeDevmesh, type Devmesh } from "./client.ts";
import { createFetchTransport } from "./fetch-transport.ts";
import type { DevmeshOptions } from "./options.ts";

/** Makes a client that talks over `fetch`. Throws `DevmeshConfigError` on unsafe settings. */
export function createDevmesh(options: DevmeshOptions): Devmesh {
  return composeDevmesh(options, createFetchTransport);
}

export * from "./surface.ts";
