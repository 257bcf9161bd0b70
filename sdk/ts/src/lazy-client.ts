/**
 * Owns clients whose contract is loaded with their first call: what only
 * operators use costs a page that shows jobs nothing. Unary methods only.
 */
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient, type Transport } from "@connectrpc/connect";

type Call = (...args: readonly unknown[]) => Promise<unknown>;

/** A client of the service that `load` gets; a load that fails is tried again by the next call. */
export function lazyClient<S extends DescService>(
  load: () => Promise<S>,
  transport: Transport,
): Client<S> {
  let client: Promise<Record<string, Call>> | undefined;
  const loaded = () => {
    client ??= load().then(
      (service) => createClient(service, transport) as unknown as Record<string, Call>,
    );
    client.catch(() => {
      client = undefined;
    });
    return client;
  };
  const methods: ProxyHandler<object> = {
    get: (_, method) => {
      // Whoever awaits the client itself must get the client.
      if (typeof method === "symbol" || method === "then") return undefined;
      return async (...args: readonly unknown[]) => (await loaded())[method]?.(...args);
    },
  };
  return new Proxy({}, methods) as Client<S>;
}
