/** Why the egress proxy lets something not through, and how it says so to the sandbox. */
import { DevmeshError, problemType, statusOf, toProblem } from "@devmesh/mesh/errors";

/** Every reason, as decisions and answers name it. */
export type RefusalWhy =
  /** The request cannot be read, or can be read in two ways. */
  | "BAD_REQUEST"
  /** The host is an address, or no name as the policy writes names. */
  | "BAD_HOST"
  /** `Host` names another host than the request does. */
  | "HOST_MISMATCH"
  /** No rule has this host and port. */
  | "NOT_ALLOWED"
  | "METHOD_NOT_ALLOWED"
  | "PATH_NOT_ALLOWED"
  /** The path can be read in two ways, and rules look at it. */
  | "AMBIGUOUS_PATH"
  /** The name leads to an address that is not of the public internet. */
  | "PRIVATE_ADDRESS"
  /** The name leads to a cloud's metadata service, or to an address that is never reached. */
  | "FORBIDDEN_ADDRESS"
  | "NAME_NOT_FOUND"
  /** What comes through the tunnel is not the start of a TLS connection. */
  | "NO_TLS"
  /** The TLS connection does not say which host it is for. */
  | "NO_SNI"
  /** The TLS connection is for another host than the tunnel. */
  | "SNI_MISMATCH"
  /** A protocol other than HTTP was asked for where the proxy looks into requests. */
  | "UPGRADE_REFUSED"
  | "TOO_MANY_CONNECTIONS"
  /** No address of the host could be connected to. */
  | "UNREACHABLE"
  /** The host did not prove by its certificate who it is. */
  | "UPSTREAM_TLS"
  /** The host broke off, or did not speak HTTP. */
  | "UPSTREAM_FAILED";

/** Destination and reason of a refusal. */
export interface RefusalFacts {
  readonly why: RefusalWhy;
  /** As the sandbox named it; empty where it cannot be told. */
  readonly host: string;
  /** 0 where it cannot be told. */
  readonly port: number;
  /** One sentence for people. */
  readonly detail: string;
}

/** The hosts' faults: the policy allowed it. */
const failures: ReadonlySet<RefusalWhy> = new Set([
  ...(["NAME_NOT_FOUND", "UNREACHABLE", "UPSTREAM_TLS", "UPSTREAM_FAILED"] as const),
]);

/** Something that is not let through. */
export class EgressRefusal extends Error {
  readonly facts: RefusalFacts;

  constructor(facts: RefusalFacts, cause?: unknown) {
    super(facts.detail, { cause });
    this.facts = facts;
  }

  /** The HTTP status of its answer: 403, or 502 where the destination failed. */
  get status(): number {
    return failures.has(this.facts.why) ? 502 : statusOf("EGRESS_REFUSED");
  }

  /** The answer's body, an RFC 9457 problem document. */
  get body(): string {
    const { why, host, port, detail } = this.facts;
    const metadata = { host, port: String(port), why };
    const reason = failures.has(why) ? "UNAVAILABLE" : "EGRESS_REFUSED";
    const problem = toProblem(new DevmeshError(reason, detail, { metadata }), "");
    return `${JSON.stringify({ ...problem, status: this.status })}\n`;
  }

  /** Head and body for a connection that speaks HTTP/1.1, which is closed behind it. */
  get rawAnswer(): string {
    const { status, body } = this;
    const text = status === 502 ? "Bad Gateway" : "Forbidden";
    return [
      `HTTP/1.1 ${status} ${text}`,
      `content-type: ${problemType}`,
      `content-length: ${Buffer.byteLength(body)}`,
      `x-devmesh-egress: ${this.facts.why}`,
      "connection: close",
      "",
      body,
    ].join("\r\n");
  }
}
