/**
 * Owns clients whose contract is loaded with their first call: what a page that
 * shows jobs does without costs it nothing. Unary methods and server streams.
 */
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient, type Transport } from "@connectrpc/connect";

type Call = (...args: readonly unknown[]) => Promise<unknown> | AsyncIterable<unknown>;

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
      return (...args: readonly unknown[]) => {
        const answer = loaded().then((calls) => calls[method]?.(...args));
        // One that is a stream is read without being awaited.
        return Object.assign(answer, {
          async *[Symbol.asyncIterator]() {
            yield* (await answer) as AsyncIterable<unknown>;
          },
        });
      };
    },
  };
  return new Proxy({}, methods) as Client<S>;
}
