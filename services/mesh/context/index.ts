export {
  anonymous,
  inProcessPeer,
  kCaller,
  kHeadFault,
  kLogger,
  kPeer,
  kPrincipal,
  kRequestId,
  kSubject,
  type Peer,
  type Principal,
} from "./keys.ts";
export { isProxied } from "./proxies.ts";
