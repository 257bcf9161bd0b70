/** The chain around every handler, outermost first. */
import type { Interceptor } from "@connectrpc/connect";
import {
  type Authenticator,
  accessInterceptor,
  deadlineInterceptor,
  headFaultInterceptor,
  type ObserveOptions,
  observeInterceptor,
  readInterceptor,
  traceInterceptor,
  validateInterceptor,
} from "../interceptors/index.ts";

/** What the chain works with. */
export interface ServerInterceptorOptions extends ObserveOptions {
  readonly authenticator: Authenticator;
  /** The longest a unary call may take, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** What else may refuse a caller that is known, in order. Default: nothing. */
  readonly gates?: readonly Interceptor[];
}

/** Log and map errors, trace, authenticate and authorise, other refusals, hold the head to its rules, read, validate, bound. */
export function serverInterceptors(options: ServerInterceptorOptions): Interceptor[] {
  return [
    observeInterceptor(options),
    traceInterceptor(),
    accessInterceptor(options.authenticator),
    ...(options.gates ?? []),
    headFaultInterceptor(),
    readInterceptor(),
    validateInterceptor(),
    deadlineInterceptor(options.requestTimeoutMs),
  ];
}
