/** Who comes in, and to what: the chain around every handler of the backend. */
import type { Interceptor } from "@connectrpc/connect";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import {
  type Authenticator,
  featureInterceptor,
  rateLimitInterceptor,
  serviceTokenAuthenticator,
} from "@devmesh/mesh/interceptors";
import { type ServerInterceptorOptions, serverInterceptors } from "@devmesh/mesh/server";
import type { ApiConfig } from "./config.ts";
import { limitAddresses } from "./limits/address-limit.ts";
import { MemoryRateLimiter } from "./limits/rate-limiter.memory.ts";
import type { RateLimits } from "./limits/rate-rules.ts";
import type { Stores } from "./stores.ts";
import { apiAuthenticator } from "./tokens/api-authenticator.ts";
import { ownershipInterceptor } from "./tokens/ownership.ts";
import type { TokenWatch } from "./tokens/token-watch.ts";
import type { Tokens } from "./tokens/tokens.ts";

/** What the door is made of. */
export interface PublicDoorOptions
  extends Pick<ServerInterceptorOptions, "logger" | "clock" | "ids" | "audit"> {
  readonly config: ApiConfig;
  readonly stores: Pick<Stores, "jobs" | "limiter">;
  readonly tokens: Tokens;
  readonly tokenWatch: TokenWatch;
  readonly rates: RateLimits;
  /** True for a module that is not switched off. */
  readonly features: (name: string) => boolean;
}

/** Who calls, and what every call goes through, outermost first. */
export interface PublicDoor {
  readonly authenticator: Authenticator;
  readonly interceptors: readonly Interceptor[];
}

/** Makes the door. */
export function createPublicDoor(options: PublicDoorOptions): PublicDoor {
  const { config, stores, rates, features, logger, clock, ids, audit } = options;
  const authenticator = authenticatorOf(options);
  const chain = serverInterceptors({
    ...{ logger, clock, ids, audit, authenticator },
    gates: [featureInterceptor(features), rateLimitInterceptor(stores.limiter, rates.rulesOf)],
    requestTimeoutMs: config.requestTimeoutMs,
  });
  return { authenticator, interceptors: [...chain, owners(options)] };
}

/** Tells the caller; an address that shows no good token may not try for ever. */
function authenticatorOf({ config, clock, tokens, tokenWatch }: PublicDoorOptions): Authenticator {
  const { anonymousRateLimit, serviceToken, devBypass, corsOrigins } = config;
  const authenticator = apiAuthenticator({
    tokens,
    watch: tokenWatch,
    serviceToken: serviceToken === undefined ? undefined : serviceTokenAuthenticator(serviceToken),
    devBypass,
    corsOrigins,
  });
  if (anonymousRateLimit === undefined) return authenticator;
  const limiter = new MemoryRateLimiter({ clock });
  return limitAddresses({ authenticator, limiter, limit: anonymousRateLimit });
}

/** Whose each resource is that has an owner. */
function owners({ stores, tokens }: PublicDoorOptions): Interceptor {
  return ownershipInterceptor([
    {
      service: JobService,
      resource: "job",
      ownerOf: async (id) => (await stores.jobs.get(id))?.owner,
      isOfJob: (id, jobId) => id === jobId,
    },
    {
      service: TokenService,
      resource: "token",
      ownerOf: (id) => tokens.ownerOf(id),
      isOfJob: () => false,
    },
  ]);
}
