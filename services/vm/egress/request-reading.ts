/** Reads what a request to the proxy is for. Whether that is allowed is left to the policy. */
import type { IncomingMessage } from "node:http";
import { type Authority, parseAuthority } from "./host-name.ts";
import { EgressRefusal, type RefusalWhy } from "./refusal.ts";
import { framingFault } from "./request-headers.ts";
import { parseTarget, type RequestTarget } from "./request-path.ts";

/** A request whose destination is known. */
export interface ReadRequest {
  readonly authority: Authority;
  readonly target: RequestTarget;
}

/** The tunnel in which a request came. */
export interface Within {
  readonly authority: Authority;
  /** True if it carries plain HTTP. */
  readonly isPlain: boolean;
}

/** A refusal of a destination. */
export function refusal(why: RefusalWhy, { host, port }: Authority, detail: string): EgressRefusal {
  return new EgressRefusal({ why, host, port, detail });
}

/** A refusal that names what was asked for although it is no host's name. */
export function badHost(text: string): EgressRefusal {
  const match = /^(.*?)(?::(\d{1,5}))?$/s.exec(text);
  const host = (match?.[1] ?? text).slice(0, 200);
  const number = Number(match?.[2] ?? 0);
  const port = number <= 65_535 ? number : 0;
  const detail = `${JSON.stringify(host)} is no host's name: only names are reached, never addresses`;
  return new EgressRefusal({ why: "BAD_HOST", host, port, detail });
}

/** What a request is for. `within` absent: it came to the proxy itself. Throws EgressRefusal. */
export function readRequest(req: IncomingMessage, within: Within | undefined): ReadRequest {
  const url = req.url ?? "";
  const asked = within === undefined ? readAbsolute(url) : readWithin(within, url);
  const { authority } = asked;
  const fault = framingFault(req);
  if (fault !== "") throw refusal("BAD_REQUEST", authority, `the request is refused: ${fault}`);
  const given = req.headers.host;
  const named = parseAuthority(given ?? "", within === undefined || within.isPlain ? 80 : 443);
  const isNeeded = given !== undefined || within !== undefined;
  if (isNeeded && (named?.host !== authority.host || named.port !== authority.port)) {
    throw refusal("HOST_MISMATCH", authority, "Host does not name the host of the request");
  }
  if (req.headers.upgrade?.toLowerCase().includes("websocket")) {
    const detail = "a WebSocket needs a rule that names no methods, paths or secrets";
    throw refusal("UPGRADE_REFUSED", authority, detail);
  }
  if (req.method === "TRACE") {
    throw refusal("METHOD_NOT_ALLOWED", authority, "TRACE would show what the proxy adds");
  }
  return asked;
}

/** `http://host[:port]/path`. */
function readAbsolute(url: string): ReadRequest {
  const match = /^http:\/\/([^/?#]*)([/?#].*)?$/is.exec(url);
  if (match === null) {
    const detail = "this is a proxy: it takes http:// addresses, and CONNECT for all else";
    throw new EgressRefusal({ why: "BAD_REQUEST", host: "", port: 0, detail });
  }
  const [, name = "", rest = "/"] = match;
  const authority = parseAuthority(name, 80);
  if (authority === undefined) throw badHost(name);
  const target = parseTarget(rest.startsWith("?") ? `/${rest}` : rest);
  if (target === undefined) throw refusal("BAD_REQUEST", authority, "the path is none");
  return { authority, target };
}

function readWithin({ authority }: Within, url: string): ReadRequest {
  const target = parseTarget(url);
  if (target !== undefined) return { authority, target };
  throw refusal("BAD_REQUEST", authority, "in a tunnel a request begins with its path");
}
