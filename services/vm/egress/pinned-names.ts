/**
 * Names for one sandbox: resolved here, checked whole, and kept for a while, so
 * that a connection goes to an address that was checked and to no other.
 */
import { lookup } from "node:dns/promises";
import type { Clock } from "@devmesh/mesh/runtime";
import type { AddressGuard } from "./address-guard.ts";
import { EgressRefusal } from "./refusal.ts";

/** All addresses of a name, in the order in which they shall be tried. Throws if there are none. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** Asks as every program of this host does: its hosts file, its resolver. */
export const systemResolve: Resolve = async (host) => {
  const found = await lookup(host, { all: true, order: "verbatim" });
  return found.map(({ address }) => address);
};

/** How long a checked answer is used. */
const pinMs = 60_000;

/** How long an answer is waited for. */
const resolveTimeoutMs = 10_000;

/** Asks of one sandbox on their way at once: it shall not hold up the host's own. */
const maxAsks = 2;

/** Answers that are kept at once. */
const maxPins = 1_000;

/** What names are made of. */
export interface PinnedNamesOptions {
  readonly resolve: Resolve;
  readonly guard: AddressGuard;
  readonly clock: Clock;
}

interface Pin {
  readonly addresses: Promise<readonly string[]>;
  untilMs: number;
}

/** The names of one sandbox. */
export class PinnedNames {
  readonly #options: PinnedNamesOptions;
  readonly #pins = new Map<string, Pin>();
  #asks = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: PinnedNamesOptions) {
    this.#options = options;
  }

  /**
   * The checked addresses of a host. Throws EgressRefusal: NAME_NOT_FOUND, and
   * PRIVATE_ADDRESS or FORBIDDEN_ADDRESS if any one of the answer is.
   */
  addressesOf(host: string, port: number): Promise<readonly string[]> {
    const now = this.#options.clock.now();
    const known = this.#pins.get(host);
    if (known !== undefined && known.untilMs > now) return known.addresses;
    if (this.#pins.size >= maxPins) this.#pins.clear();
    // Until it is answered it is shared by all who ask.
    const pin: Pin = { addresses: this.#ask(host, port), untilMs: Number.POSITIVE_INFINITY };
    this.#pins.set(host, pin);
    pin.addresses.then(
      () => {
        pin.untilMs = this.#options.clock.now() + pinMs;
      },
      () => {
        // A refusal is found anew each time.
        if (this.#pins.get(host) === pin) this.#pins.delete(host);
      },
    );
    return pin.addresses;
  }

  async #ask(host: string, port: number): Promise<readonly string[]> {
    const addresses = await this.#resolve(host, port);
    if (addresses.length === 0) {
      throw new EgressRefusal({
        why: "NAME_NOT_FOUND",
        host,
        port,
        detail: `${host} has no address`,
      });
    }
    for (const address of addresses) {
      const why = this.#options.guard.judge(address);
      if (why === "ok") continue;
      const detail =
        why === "PRIVATE_ADDRESS"
          ? `${host} leads to a private address`
          : `${host} leads to an address that is never reached`;
      throw new EgressRefusal({ why, host, port, detail });
    }
    return addresses;
  }

  async #resolve(host: string, port: number): Promise<readonly string[]> {
    while (this.#asks >= maxAsks) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#asks += 1;
    const answer = this.#options.resolve(host).finally(() => {
      this.#asks -= 1;
      this.#waiting.shift()?.();
    });
    // One that comes too late frees its place and is not used.
    answer.catch(() => {});
    const late = new AbortController();
    const { clock } = this.#options;
    try {
      return await Promise.race([
        answer,
        clock.sleep(resolveTimeoutMs, late.signal).then(() => {
          throw new Error("no answer in time");
        }),
      ]);
    } catch (error) {
      const detail = `${host} cannot be resolved`;
      throw new EgressRefusal({ why: "NAME_NOT_FOUND", host, port, detail }, error);
    } finally {
      late.abort();
    }
  }
}
