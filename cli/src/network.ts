/** Owns the options that say what a job's sandbox may reach: `--allow-net` and `--network`. */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import type { EgressAllowance, JobConditions } from "@devmesh/sdk";
import { NetworkPolicySchema } from "@devmesh/sdk/raw";
import type { Args, OptionTable } from "./args.ts";
import { UsageError } from "./usage-error.ts";

/** The options. */
export const networkOptions: OptionTable = {
  "allow-net": {
    value: "HOST[:PORT]",
    multiple: true,
    help: "let the job reach this host, as pypi.org or *.example.com:8443; may be repeated",
  },
  network: { value: "FILE", help: "what the job may reach, as JSON (NetworkPolicy)" },
};

/** What the options say; undefined if they say nothing. Throws `UsageError`. */
export function readNetwork(args: Args): JobConditions["network"] {
  const file = args.text("network");
  const hosts = args.list("allow-net");
  if (file === undefined && hosts.length === 0) return undefined;
  const fromFile = file === undefined ? [] : readPolicy(file);
  return { allow: [...fromFile, ...hosts.map(parseHost)] };
}

/** A name, or `*.` and a name, as the server takes it. The last part is never a number's. */
const namePattern =
  /^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** `HOST` or `HOST:PORT`; port 80 is plain HTTP, every other one TLS. */
function parseHost(text: string): EgressAllowance {
  const match = /^([^\s:/@]+)(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1]?.toLowerCase();
  const port = match?.[2] === undefined ? undefined : Number(match[2]);
  if (host === undefined || (port !== undefined && (port < 1 || port > 65_535))) {
    throw new UsageError(
      `--allow-net: ${JSON.stringify(text)} is not HOST[:PORT]`,
      "write a name, for example pypi.org, *.example.com or mirror.example.com:8443",
    );
  }
  if (!namePattern.test(host)) {
    const cause = isIP(host) === 0 ? "is no host's name" : "is an address";
    throw new UsageError(
      `--allow-net: ${host} ${cause}, and a job reaches hosts by their names only`,
      "write a name, for example pypi.org, *.example.com or mirror.example.com:8443",
    );
  }
  return {
    host,
    ...(port !== undefined && { port }),
    ...(port === 80 && { plainHttp: true }),
  };
}

function readPolicy(path: string): readonly EgressAllowance[] {
  const remedy = 'for example {"allow": [{"host": "pypi.org", "methods": ["GET"]}]}';
  let json: JsonValue;
  try {
    json = JSON.parse(readFileSync(path, "utf8")) as JsonValue;
  } catch (error) {
    const why = error instanceof SyntaxError ? "is not JSON" : "cannot be read";
    throw new UsageError(`--network: ${path} ${why}`, remedy);
  }
  try {
    return fromJson(NetworkPolicySchema, json).allow;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`--network: ${path} is no network policy: ${why}`, remedy);
  }
}
