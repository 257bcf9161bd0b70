export {
  type ClosableTransport,
  createGrpcTransport,
  type GrpcTransportOptions,
} from "./grpc-transport.ts";
export { createInProcessTransport, type InProcessOptions } from "./in-process.ts";
