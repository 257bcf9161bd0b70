export { HttpExchange, type HttpHandler, peerOf, toHeaders } from "./http-exchange.ts";
export {
  type RunningServer,
  type ServerOptions,
  startServer,
  type UpgradeHandler,
} from "./mesh-server.ts";
export { type BoundMethod, bindMethods, type CallInit } from "./methods.ts";
export { type PrivateServiceOptions, type ServedApp, servePrivately } from "./private-service.ts";
export { exitOnConfigError, untilSignalled } from "./run-main.ts";
export { type ServerInterceptorOptions, serverInterceptors } from "./server-interceptors.ts";
export { type App, type ReadinessCheck, type ServiceRegistration, serve } from "./service.ts";
