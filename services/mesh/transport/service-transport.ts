/** How one service of a deployment calls another. */
import type { Interceptor } from "@connectrpc/connect";
import {
  bearerInterceptor,
  clientTraceInterceptor,
  retryInterceptor,
} from "../interceptors/index.ts";
import type { Clock } from "../runtime/index.ts";
import { type ClosableTransport, createGrpcTransport } from "./grpc-transport.ts";

/** Which service, and the secret that it wants. */
export interface ServiceTransportOptions {
  /** `http://host:port`, or `https://host[:port]` for TLS with a certificate that this host trusts. */
  readonly url: string;
  readonly serviceToken: string | undefined;
  readonly clock: Clock;
  /** As of the gRPC transport. Default: false. */
  readonly ownConnection?: boolean;
}

/** Retries where the contract says it is safe, shows the deployment's secret, traces each try. */
export function serviceClientInterceptors(
  options: Omit<ServiceTransportOptions, "url" | "ownConnection">,
): Interceptor[] {
  const { serviceToken, clock } = options;
  return [
    retryInterceptor({ clock }),
    ...(serviceToken === undefined ? [] : [bearerInterceptor(serviceToken)]),
    clientTraceInterceptor(),
  ];
}

/** A gRPC channel to another service. */
export function createServiceTransport(options: ServiceTransportOptions): ClosableTransport {
  const { hostname, port, protocol } = new URL(options.url);
  const tls = protocol === "https:";
  return createGrpcTransport({
    target: `${hostname}:${port || (tls ? "443" : "80")}`,
    tls,
    interceptors: serviceClientInterceptors(options),
    ownConnection: options.ownConnection ?? false,
  });
}
