/** The sandbox host's configuration: every key, its default, and its bounds. */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { cpus, homedir } from "node:os";
import { join } from "node:path";
import {
  type Env,
  EnvReader,
  readDataDir,
  readServing,
  type ServingConfig,
} from "@devmesh/mesh/config";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { isAddressRange } from "./egress/address-guard.ts";
import { readSecretsFile } from "./egress/egress-secrets.ts";

/** The drivers there are, weakest isolation first. */
const driverNames = ["process", "docker", "gvisor", "qemu", "firecracker"] as const;

/** One of the drivers. */
export type DriverName = (typeof driverNames)[number];

/** What the sandbox host is started with. */
export interface VmConfig extends ServingConfig {
  /** Where sandboxes and attempts keep their files. Default: `vm` in the data folder. */
  readonly stateDir: string;
  /** The backend, `http://host:port` or `https://host[:port]`: leases come from it, and agents call it. */
  readonly apiUrl: string;
  /** How many jobs run at once. Default: the number of processors, 2 at least. */
  readonly capacity: number;
  /** `RUNNER_LABELS`: what jobs may ask of this host, as `zone=eu,gpu=a100`. Default: none. */
  readonly labels: Readonly<Record<string, string>>;
  /** How long a program that is told to stop has before it is killed. Default: 5000. */
  readonly stopGraceMs: number;
  /** Time between two sweeps for what has no owner. Default: 60000. 0: at the start only. */
  readonly reconcileIntervalMs: number;
  /** Which drivers to offer. Default: all. */
  readonly drivers: readonly DriverName[];
  /**
   * The image of containers. Default: `devmesh-base:latest`. An id, or `name@sha256:…`, is
   * held to: another image is refused.
   */
  readonly dockerImage: string;
  /** True if macOS's process sandboxes may use all processors. Default: false, they are refused. */
  readonly processUnboundedCpu: boolean;
  /**
   * How many containers and virtual machines are kept ready for each shape in use, and disks of
   * process sandboxes for each size. Default: 1; 0: none.
   */
  readonly warmSandboxes: number;
  /** The Docker engine's socket. Default: `/var/run/docker.sock`. */
  readonly dockerSocket: string;
  /** The folder with the guest's kernel and disks, made by `deploy/guest`. */
  readonly guestDir: string;
  /** The QEMU program. Default: `qemu-system-x86_64`, looked up on PATH. */
  readonly qemuBinary: string;
  /** Firecracker and its jailer. Default: `firecracker` and `jailer`, looked up on PATH. */
  readonly firecrackerBinary: string;
  readonly jailerBinary: string;
  /** The bundled agent. Absent: agent jobs are refused. */
  readonly agentPath: string | undefined;
  /** Where agents of other makers lie, as `npm run setup` puts them. Default: the cache folder. */
  readonly harnessDir: string;
  /** What network policies may use of this host. */
  readonly egress: EgressConfig;
}

/** What network policies may use of this host. */
export interface EgressConfig {
  /** `EGRESS_ALLOW_PRIVATE`: private ranges that may be reached all the same. Default: none. */
  readonly allowPrivate: readonly string[];
  /** `EGRESS_SECRETS_FILE`: secrets that the proxy puts into requests. Absent: none. */
  readonly secretsFile?: string;
  /** `EGRESS_CA_FILE`: certificates that destinations may have besides the public ones. Absent: none. */
  readonly caFile?: string;
}

/** Reads the configuration. Throws CONFIG_INVALID with every mistake in it. */
export function readVmConfig(env: Env): VmConfig {
  const reader = new EnvReader(env);
  const dataDir = readDataDir(reader);
  const cacheDir = reader.string("DEVMESH_CACHE_DIR", join(homedir(), ".cache", "devmesh"));
  const names = reader.list("SANDBOX_DRIVERS", driverNames);
  const unknown = names.filter((name) => !driverNames.some((known) => known === name));
  if (unknown.length > 0) {
    reader.mistake(
      `SANDBOX_DRIVERS: there is no ${unknown.join(", ")}; there are ${driverNames.join(", ")}`,
    );
  }
  const dockerHost = reader.string("DOCKER_HOST", "unix:///var/run/docker.sock");
  if (!dockerHost.startsWith("unix://")) {
    reader.mistake("DOCKER_HOST: only an engine on a Unix socket of this host is used (unix://…)");
  }
  const config: VmConfig = {
    ...readServing(reader, "VM", 7200),
    stateDir: join(dataDir, "vm"),
    apiUrl: reader.url("API_URL", ["http", "https"], "http://127.0.0.1:8080"),
    capacity: reader.integer("RUNNER_CAPACITY", Math.max(2, cpus().length), { min: 1, max: 1000 }),
    labels: readLabels(reader),
    stopGraceMs: reader.integer("STOP_GRACE_MS", 5_000, { min: 0, max: 300_000 }),
    reconcileIntervalMs: reader.integer("RECONCILE_INTERVAL_MS", 60_000, {
      min: 0,
      max: 86_400_000,
    }),
    drivers: driverNames.filter((name) => names.includes(name)),
    dockerImage: reader.string("DOCKER_IMAGE", "devmesh-base:latest"),
    processUnboundedCpu: reader.boolean("PROCESS_UNBOUNDED_CPU", false),
    warmSandboxes: reader.integer("SANDBOX_WARM", 1, { min: 0, max: 64 }),
    dockerSocket: dockerHost.replace(/^unix:\/\//, ""),
    guestDir: reader.string("VM_GUEST_DIR", join(cacheDir, "guest")),
    qemuBinary: reader.string("QEMU_BINARY", "qemu-system-x86_64"),
    firecrackerBinary: reader.string("FIRECRACKER_BINARY", "firecracker"),
    jailerBinary: reader.string("JAILER_BINARY", "jailer"),
    agentPath: reader.optional("AGENT_PATH"),
    egress: readEgress(reader),
    harnessDir: reader.string("HARNESS_DIR", cacheDir),
  };
  reader.finish();
  return config;
}

function readEgress(reader: EnvReader): EgressConfig {
  const allowPrivate = reader.list("EGRESS_ALLOW_PRIVATE", []);
  for (const range of allowPrivate.filter((text) => !isAddressRange(text))) {
    reader.mistake(
      `EGRESS_ALLOW_PRIVATE: ${JSON.stringify(range)} is no range: wants for example 10.1.0.0/16`,
    );
  }
  const secretsFile = reader.optional("EGRESS_SECRETS_FILE");
  const caFile = reader.optional("EGRESS_CA_FILE");
  try {
    if (secretsFile !== undefined) readSecretsFile(secretsFile);
  } catch (error) {
    reader.mistake(toDevmeshError(error).message);
  }
  if (caFile !== undefined && !isCertificateFile(caFile)) {
    reader.mistake(`EGRESS_CA_FILE: ${caFile} is no readable file of PEM certificates`);
  }
  return {
    allowPrivate,
    ...(secretsFile !== undefined && { secretsFile }),
    ...(caFile !== undefined && { caFile }),
  };
}

function isCertificateFile(path: string): boolean {
  try {
    return new X509Certificate(readFileSync(path)).subject !== undefined;
  } catch {
    return false;
  }
}

/** How many labels a runner may have. */
export const maxLabels = 16;

/** A label as the contract takes it: key, `=`, value. */
export const labelPattern =
  /^([A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?)=((?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?)$/;

function readLabels(reader: EnvReader): Record<string, string> {
  const labels = new Map<string, string>();
  for (const text of reader.list("RUNNER_LABELS", [])) {
    const [, key, value] = labelPattern.exec(text) ?? [];
    if (key === undefined || value === undefined) {
      reader.mistake(
        `RUNNER_LABELS: ${JSON.stringify(text)} is not KEY=VALUE of letters, digits, "-", "_", "." (and "/" in keys)`,
      );
    } else if (labels.has(key)) {
      reader.mistake(`RUNNER_LABELS: ${key} is there twice`);
    } else {
      labels.set(key, value);
    }
  }
  if (labels.size > maxLabels) reader.mistake(`RUNNER_LABELS: more than ${maxLabels} labels`);
  return Object.fromEntries(labels);
}
