export {
  anonymous,
  inProcessPeer,
  kCaller,
  kLogger,
  kPeer,
  kPrincipal,
  kRequestId,
  kSubject,
  type Peer,
  type Principal,
} from "./keys.ts";
export { isProxied } from "./proxies.ts";
