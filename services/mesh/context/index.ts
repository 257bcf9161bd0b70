export {
  anonymous,
  inProcessPeer,
  kLogger,
  kPeer,
  kPrincipal,
  kRequestId,
  kSubject,
  type Peer,
  type Principal,
} from "./keys.ts";
