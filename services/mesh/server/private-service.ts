/** How the services behind the public door are served: one secret, gRPC, and their REST rows. */
import { type Authenticator, serviceTokenAuthenticator } from "../interceptors/index.ts";
import type { Logger } from "../log/index.ts";
import type { Clock, Ids } from "../runtime/index.ts";
import type { ServerOptions } from "./mesh-server.ts";
import { bindMethods } from "./methods.ts";
import { serverInterceptors } from "./server-interceptors.ts";
import type { App } from "./service.ts";

/** What a private service is served with. */
export interface PrivateServiceOptions {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly ids: Ids;
  /** The secret that the services of one deployment share. Absent: every call is refused. */
  readonly serviceToken: string | undefined;
  readonly requestTimeoutMs: number;
}

/** A built app, and how the mesh shall serve it. */
export type ServedApp = Pick<
  ServerOptions,
  "app" | "methods" | "interceptors" | "authenticator" | "routes" | "upgrade"
>;

/** Puts the chain of interceptors around an app. */
export function servePrivately(app: App, options: PrivateServiceOptions): ServedApp {
  const { serviceToken, ...rest } = options;
  const authenticator =
    serviceToken === undefined ? closed : serviceTokenAuthenticator(serviceToken);
  const interceptors = serverInterceptors({ ...rest, authenticator });
  return { app, authenticator, interceptors, methods: bindMethods(app.services, interceptors) };
}

/** With no secret there is nobody to let in. */
const closed: Authenticator = serviceTokenAuthenticator(crypto.randomUUID());
