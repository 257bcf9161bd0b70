/** The way out of one sandbox by its job's network policy: proxy, certificates, variables, record. */
import { chmod, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { getCACertificates } from "node:tls";
import type { NetworkPolicy } from "@devmesh/gen/devmesh/api/v1/network_policy_pb";
import type { Clock } from "@devmesh/mesh/runtime";
import { makeDoorFolder } from "../drivers/door-folder.ts";
import type { ReadOnlyMount, SandboxDoor } from "../drivers/driver.ts";
import { AddressGuard } from "./address-guard.ts";
import { EgressPolicy } from "./egress-policy.ts";
import { EgressProxy } from "./egress-proxy.ts";
import { EgressRecorder, type EgressRecorderOptions } from "./egress-recorder.ts";
import { noSecrets, readSecretsFile } from "./egress-secrets.ts";
import { JobAuthority } from "./job-authority.ts";
import { PinnedNames, type Resolve, systemResolve } from "./pinned-names.ts";
import { type EgressBytes, Upstreams } from "./upstreams.ts";

/** The port of the sandbox's own 127.0.0.1 at which programs find the proxy. */
const egressPort = 3128;

/** What the host's operator says of all sandboxes. */
export interface EgressHostOptions {
  /** Ranges that are reached although they are private. Default: none. */
  readonly allowPrivate?: readonly string[];
  /** The file of `egress-secrets.ts`. It is read for each job. Absent: there are no secrets. */
  readonly secretsFile?: string;
  /** PEM certificates that are trusted besides Node's own, for example of a mirror. Absent: none. */
  readonly caFile?: string;
  /** Default: as every program of this host resolves. */
  readonly resolve?: Resolve;
  /** A connection on which nothing happens for this long is cut. Default: 5 minutes. */
  readonly idleMs?: number;
}

/** What one way out is made of. */
export interface EgressInput extends Pick<EgressRecorderOptions, "report" | "note"> {
  readonly host: EgressHostOptions;
  readonly policy: NetworkPolicy;
  readonly jobId: string;
  /** The attempt's own folder; the certificates are put into it. */
  readonly folder: string;
  readonly clock: Clock;
}

/** A way out that is open. */
export interface Egress {
  readonly door: SandboxDoor;
  readonly mounts: readonly ReadOnlyMount[];
  /** Variables by which programs find the proxy and trust it. */
  readonly env: Readonly<Record<string, string>>;
  /** What went out and came in so far. */
  bytes(): EgressBytes;
  /** Cuts everything and tells the backend the rest. Throws what reporting threw for good. */
  close(): Promise<void>;
}

/** Where the certificates are in every sandbox that has a way out. */
const certificates = {
  /** Those of this job and of the operator, for programs that have their own list besides. */
  extra: "/opt/devmesh/egress/ca.pem",
  /** All that are trusted. */
  bundle: "/opt/devmesh/egress/bundle.pem",
} as const;

/**
 * Opens the way out. Throws INVALID_FIELD, and EGRESS_REFUSED for a secret that
 * this host does not give; leaves nothing behind when it does.
 */
export async function openEgress(input: EgressInput): Promise<Egress> {
  const { host, clock, folder, jobId } = input;
  const { secretsFile, caFile, idleMs = 300_000 } = host;
  const secrets = secretsFile === undefined ? noSecrets : readSecretsFile(secretsFile);
  const policy = new EgressPolicy(input.policy, secrets);
  const authority = policy.endsTls ? await JobAuthority.create(jobId, clock.now()) : undefined;
  const own = caFile === undefined ? "" : await readFile(caFile, "utf8");
  const trusted = getCACertificates("default");
  const extra = [own, authority?.certificate ?? ""].filter((text) => text !== "");
  const mounts = await writeCertificates(folder, {
    // Programs complain about an empty list.
    ...(extra.length > 0 && { extra: extra.join("\n") }),
    bundle: [...trusted, ...extra].join("\n"),
  });
  const guard = new AddressGuard(host.allowPrivate);
  const upstreams = new Upstreams({ ca: own === "" ? undefined : [...trusted, own], idleMs });
  const proxy = new EgressProxy({
    policy,
    names: new PinnedNames({ resolve: host.resolve ?? systemResolve, guard, clock }),
    upstreams,
    authority,
    onDecision: (decision) => recorder.record(decision),
    idleMs,
  });
  const recorder = new EgressRecorder({
    ...input,
    // What cannot be recorded does not go out; `close` tells why.
    onFailure: () => void proxy.close(),
  });
  const doorFolder = await makeDoorFolder();
  const socketPath = join(doorFolder, "egress.sock");
  try {
    await proxy.listen(socketPath);
    await chmod(socketPath, 0o666);
  } catch (error) {
    await proxy.close();
    await rm(doorFolder, { recursive: true, force: true });
    throw error;
  }
  return {
    door: { name: "egress", socketPath, port: egressPort },
    mounts,
    env: egressVariables(extra.length > 0),
    bytes: () => upstreams.bytes(),
    async close() {
      await proxy.close();
      await rm(doorFolder, { recursive: true, force: true });
      await recorder.flush();
    },
  };
}

async function writeCertificates(
  folder: string,
  texts: { readonly extra?: string; readonly bundle: string },
): Promise<ReadOnlyMount[]> {
  const write = async (name: keyof typeof texts, text: string) => {
    const hostPath = join(folder, `egress-${name}.pem`);
    await writeFile(hostPath, text, { mode: 0o644 });
    return { hostPath, sandboxPath: certificates[name], ofOneJob: true as const };
  };
  const { extra, bundle } = texts;
  return [
    ...(extra === undefined ? [] : [await write("extra", extra)]),
    await write("bundle", bundle),
  ];
}

/** As most programs read them; in lower case too, since some read only those. */
function egressVariables(hasExtra: boolean): Record<string, string> {
  const proxy = `http://127.0.0.1:${egressPort}`;
  const local = "localhost,127.0.0.1,::1";
  const both = { HTTP_PROXY: proxy, HTTPS_PROXY: proxy, ALL_PROXY: proxy, NO_PROXY: local };
  const lower = Object.entries(both).map(([name, value]) => [name.toLowerCase(), value]);
  const { extra, bundle } = certificates;
  return {
    ...both,
    ...Object.fromEntries(lower),
    // Node reads the variables above only where this one is set.
    NODE_USE_ENV_PROXY: "1",
    ...(hasExtra && { NODE_EXTRA_CA_CERTS: extra }),
    SSL_CERT_FILE: bundle,
    REQUESTS_CA_BUNDLE: bundle,
    CURL_CA_BUNDLE: bundle,
    GIT_SSL_CAINFO: bundle,
  };
}
