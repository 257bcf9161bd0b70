/** Liveness and readiness: `grpc.health.v1`, and the state behind `/livez` and `/readyz`. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  Health,
  HealthCheckResponseSchema,
  HealthListResponseSchema,
  HealthCheckResponse_ServingStatus as Serving,
} from "@devmesh/gen/grpc/health/v1/health_pb";
import { toDevmeshError } from "../errors/index.ts";
import { type ReadinessCheck, type ServiceRegistration, serve } from "./service.ts";

/** What one readiness check found. */
export interface CheckResult {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** How long one check may take. */
const checkTimeoutMs = 2_000;

/** Knows whether the process should get traffic. */
export class HealthState {
  readonly #checks: readonly ReadinessCheck[];
  readonly #listeners = new Set<() => void>();
  #draining = false;

  constructor(checks: readonly ReadinessCheck[]) {
    this.#checks = checks;
  }

  /** True from the start of the drain on. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Says NOT_SERVING from now on. */
  drain(): void {
    this.#draining = true;
    for (const listener of this.#listeners) listener();
  }

  /** Runs every check, each for two seconds at most. */
  async check(): Promise<{ ready: boolean; checks: CheckResult[] }> {
    const checks = await Promise.all(this.#checks.map(runCheck));
    return { ready: !this.#draining && checks.every((c) => c.ok), checks };
  }

  /** Calls back when the drain starts; answers how to stop. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

async function runCheck({ name, check }: ReadinessCheck): Promise<CheckResult> {
  try {
    const signal = AbortSignal.timeout(checkTimeoutMs);
    const late = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    return { name, ok: true, detail: await Promise.race([check(signal), late]) };
  } catch (error) {
    return { name, ok: false, detail: detailOf(error) };
  }
}

/** What the check itself says; the texts of others stay in the log of who threw them. */
function detailOf(error: unknown): string {
  const late = error instanceof Error && error.name === "TimeoutError";
  return late ? `no answer within ${checkTimeoutMs} ms` : toDevmeshError(error).message;
}

/** The `grpc.health.v1` service for the given contracts and for the whole server (""). */
export function healthService(
  state: HealthState,
  services: readonly ServiceRegistration[],
): ServiceRegistration {
  const names = ["", ...services.map(({ desc }) => desc.typeName)];
  const statusNow = async () =>
    (await state.check()).ready ? Serving.SERVING : Serving.NOT_SERVING;
  return serve(Health, {
    async check({ service }) {
      if (!names.includes(service)) {
        throw new ConnectError(`unknown service ${service}`, Code.NotFound);
      }
      return create(HealthCheckResponseSchema, { status: await statusNow() });
    },
    async list() {
      const status = await statusNow();
      return create(HealthListResponseSchema, {
        statuses: Object.fromEntries(names.map((name) => [name, { status }])),
      });
    },
    async *watch({ service }, { signal }) {
      if (!names.includes(service)) {
        yield create(HealthCheckResponseSchema, { status: Serving.SERVICE_UNKNOWN });
        return;
      }
      yield create(HealthCheckResponseSchema, { status: await statusNow() });
      await changed(state, signal);
      // Said also when the drain's signal comes with it.
      if (state.draining) {
        yield create(HealthCheckResponseSchema, { status: Serving.NOT_SERVING });
      }
    },
  });
}

function changed(state: HealthState, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted || state.draining) return resolve();
    const stop = state.onChange(() => {
      stop();
      resolve();
    });
    signal.addEventListener(
      "abort",
      () => {
        stop();
        resolve();
      },
      { once: true },
    );
  });
}
