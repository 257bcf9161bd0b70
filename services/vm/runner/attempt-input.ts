/** What one attempt is made of: the host's tools, the job, and who is told of it. Running it is left to `attempt.ts`. */
import type { JobSpec } from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { Lease } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock, Ids } from "@devmesh/mesh/runtime";
import type { SandboxDriver } from "../drivers/driver.ts";
import type { EgressHostOptions } from "../egress/egress.ts";
import type { EgressBytes } from "../egress/upstreams.ts";
import type { AgentAnswers } from "./agent/answers.ts";
import type { Backend } from "./backend.ts";
import type { EventShipper } from "./event-shipper.ts";
import type { LogDigest } from "./log-digest.ts";
import type { StopSignals } from "./pump.ts";
import type { RunDeadline } from "./run-deadline.ts";
import type { SilenceWatch } from "./silence-watch.ts";
import type { WorkOutcome } from "./work.ts";

/** What the host gives to every attempt. */
export interface AttemptTools {
  readonly backend: Backend;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly logger: Logger;
  /** The backend's public address, for the way out of agents' sandboxes. */
  readonly backendUrl: string;
  /** The Node binary of this host, given to agents. */
  readonly nodePath: string;
  /** The bundled agent. Absent: agent jobs are refused with the remedy. */
  readonly agentPath: string | undefined;
  /** Where agents of other makers lie on this host. */
  readonly harnessDir: string;
  /** How long a program that is told to stop has before it is killed, in milliseconds. */
  readonly graceMs: number;
  /** What the host's operator says of network policies. Default: no secrets, no private ranges. */
  readonly egress?: EgressHostOptions;
}

/** How the removal of a sandbox went. */
export interface Removal {
  /** False: it could not be removed; the next start of the host tries again. */
  readonly isRemoved: boolean;
  readonly processesLeft: number;
}

/** One attempt. */
export interface AttemptInput extends StopSignals {
  readonly tools: AttemptTools;
  readonly lease: Lease;
  readonly jobId: string;
  readonly spec: JobSpec;
  readonly driver: SandboxDriver;
  readonly shipper: EventShipper;
  readonly digest: LogDigest;
  readonly silence: SilenceWatch;
  /** When it must have ended. */
  readonly deadline: RunDeadline;
  /** What people answer to its agent. */
  readonly answers: AgentAnswers;
  /** Told how the removal of the sandbox went. */
  readonly onRemoved: (removal: Removal) => void;
  /** Told what went over the egress proxy, if there was one. */
  readonly onEgress: (bytes: EgressBytes) => void;
  /** The attempt's own folder on the host. */
  readonly folder: string;
  /** False if nobody will want what this work left: another attempt does it again. */
  readonly keeps: (work: WorkOutcome) => boolean;
}
