export {
  type ClosableTransport,
  createGrpcTransport,
  type GrpcTransportOptions,
} from "./grpc-transport.ts";
export { createInProcessTransport, type InProcessOptions } from "./in-process.ts";
export {
  createServiceTransport,
  type ServiceTransportOptions,
  serviceClientInterceptors,
} from "./service-transport.ts";
