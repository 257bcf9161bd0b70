export { type Admit, createAdmission } from "./admission.ts";
export { callOf } from "./exchange-call.ts";
export {
  HttpExchange,
  type HttpHandler,
  methodNotAllowed,
  peerOf,
  toHeaders,
} from "./http-exchange.ts";
export type { UpgradeRequest } from "./http1-server.ts";
export { requireJson } from "./json-body.ts";
export {
  type ConnectionBounds,
  type RunningServer,
  type ServerOptions,
  startServer,
  type UpgradeHandler,
} from "./mesh-server.ts";
export { type BoundMethod, bindMethods, type CallInit } from "./methods.ts";
export { type PrivateServiceOptions, type ServedApp, servePrivately } from "./private-service.ts";
export { exitOnConfigError, tellFailure, untilSignalled } from "./run-main.ts";
export { type ServerInterceptorOptions, serverInterceptors } from "./server-interceptors.ts";
export { type App, type ReadinessCheck, type ServiceRegistration, serve } from "./service.ts";
