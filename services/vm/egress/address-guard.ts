/** Which addresses are of the public internet. Names are left to `pinned-names.ts`. */
import { BlockList, isIP } from "node:net";
import { networkInterfaces } from "node:os";

/** What an address may not be reached for. */
export type AddressVerdict = "ok" | "PRIVATE_ADDRESS" | "FORBIDDEN_ADDRESS";

/** Never reached, whatever the operator opens. */
const neverV4: readonly string[] = [
  ...["0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"],
  // Link-local, and the metadata services of most clouds in it.
  "169.254.0.0/16",
  // Metadata services elsewhere: Azure, Alibaba, Oracle.
  ...["168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32"],
];

/** Forms of IPv6 that stand for an IPv4 address are never reached: the address itself is judged, not a disguise. */
const neverV6: readonly string[] = [
  // Unspecified, loopback, IPv4-compatible, IPv4-mapped and NAT64.
  "::/8",
  // Teredo and 6to4.
  ...["2001::/32", "2002::/16"],
  ...["fe80::/10", "fec0::/10", "ff00::/8"],
  // Metadata services: AWS, Google.
  ...["fd00:ec2::/32", "fd20:ce::/32"],
];

const privateV4: readonly string[] = [
  ...["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
  // Protocol assignments, 6to4 relays, benchmarking, documentation.
  ...["192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15"],
  ...["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"],
];

/** Within the global unicast range; everything outside of it is private. */
const privateV6: readonly string[] = ["2001::/23", "2001:db8::/32", "3fff::/20"];
const globalV6: readonly string[] = ["2000::/3"];

/** Judges addresses. */
export class AddressGuard {
  // One list for each family: a list of both takes an IPv4 address for its mapped form.
  readonly #never = { v4: listOf(neverV4), v6: listOf(neverV6) };
  readonly #private = { v4: listOf(privateV4), v6: listOf(privateV6) };
  readonly #global = listOf(globalV6);
  readonly #opened: { readonly v4: BlockList; readonly v6: BlockList };

  /**
   * `open`: ranges that are reached although they are private, as `10.1.0.0/16`.
   * `own`: the host's addresses, private whatever they are: what listens there
   * was not meant for sandboxes. Default: those of its interfaces.
   */
  constructor(open: readonly string[] = [], own: readonly string[] = ownAddresses()) {
    for (const address of own) {
      const isV6 = address.includes(":");
      this.#private[isV6 ? "v6" : "v4"].addAddress(address, isV6 ? "ipv6" : "ipv4");
    }
    this.#opened = {
      v4: listOf(open.filter((range) => !range.includes(":"))),
      v6: listOf(open.filter((range) => range.includes(":"))),
    };
  }

  /** What is no address is forbidden too. */
  judge(address: string): AddressVerdict {
    const family = isIP(address);
    // A zone leads to a link of this host.
    if (family === 0 || address.includes("%")) return "FORBIDDEN_ADDRESS";
    const type = family === 4 ? "ipv4" : "ipv6";
    const key = family === 4 ? "v4" : "v6";
    if (this.#never[key].check(address, type)) return "FORBIDDEN_ADDRESS";
    if (this.#opened[key].check(address, type)) return "ok";
    const isPublic = family === 4 || this.#global.check(address, type);
    return isPublic && !this.#private[key].check(address, type) ? "ok" : "PRIVATE_ADDRESS";
  }
}

/** True for a range as `10.0.0.0/8` or `fd12::/16`. */
export function isAddressRange(text: string): boolean {
  const [address = "", prefix = "", ...rest] = text.split("/");
  const family = isIP(address);
  if (rest.length > 0 || family === 0 || address.includes("%")) return false;
  return /^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128);
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((found) =>
    (found ?? []).map(({ address }) => address.split("%")[0] ?? ""),
  );
}

function listOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = "", prefix] = range.split("/");
    list.addSubnet(address, Number(prefix), address.includes(":") ? "ipv6" : "ipv4");
  }
  return list;
}
