/** What a service hands to the mesh to be served, wherever and however it is. */
import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter, ServiceImpl } from "@connectrpc/connect";

/** One contract and the object that fulfils it. */
export interface ServiceRegistration {
  readonly desc: DescService;
  readonly impl: Partial<ServiceImpl<DescService>>;
  /** Adds it to a Connect router. */
  register(router: ConnectRouter): void;
}

/** Pairs a contract with the object that fulfils it. */
export function serve<T extends DescService>(desc: T, impl: ServiceImpl<T>): ServiceRegistration {
  return {
    desc,
    impl: impl as Partial<ServiceImpl<DescService>>,
    register: (router) => router.service(desc, impl),
  };
}

/** One thing that must work before the service is ready, tried by really using it. */
export interface ReadinessCheck {
  /** `storage`, `inference`, … */
  readonly name: string;
  /** Answers a few words on what it found; throws if it does not work. */
  check(signal: AbortSignal): Promise<string>;
}

/** A built service: what `app.ts` answers and the mesh runs. */
export interface App {
  readonly services: readonly ServiceRegistration[];
  readonly readiness: readonly ReadinessCheck[];
  /** Ends workers, stores and connections, after the last call has ended. */
  close(): Promise<void>;
}
