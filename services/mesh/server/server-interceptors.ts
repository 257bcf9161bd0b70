/** The chain around every handler, outermost first. */
import type { Interceptor } from "@connectrpc/connect";
import {
  type Authenticator,
  accessInterceptor,
  deadlineInterceptor,
  type ObserveOptions,
  observeInterceptor,
  traceInterceptor,
  validateInterceptor,
} from "../interceptors/index.ts";

/** What the chain works with. */
export interface ServerInterceptorOptions extends ObserveOptions {
  readonly authenticator: Authenticator;
  /** The longest a unary call may take, in milliseconds. */
  readonly requestTimeoutMs: number;
}

/** Log and map errors, trace, authenticate and authorise, validate, bound. */
export function serverInterceptors(options: ServerInterceptorOptions): Interceptor[] {
  return [
    observeInterceptor(options),
    traceInterceptor(),
    accessInterceptor(options.authenticator),
    validateInterceptor(),
    deadlineInterceptor(options.requestTimeoutMs),
  ];
}
