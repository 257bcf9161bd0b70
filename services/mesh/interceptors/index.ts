export {
  type Authenticator,
  accessInterceptor,
  accessOf,
  type CredentialWatch,
  requireAccess,
  requireScope,
} from "./access.ts";
export { deadlineInterceptor } from "./deadline.ts";
export { type Features, featureDisabled, featureInterceptor } from "./feature.ts";
export { headFaultInterceptor } from "./head-fault.ts";
export {
  type AuditEntry,
  type AuditSink,
  type ObserveOptions,
  observeInterceptor,
} from "./observe.ts";
export {
  type RateLimit,
  type RateLimiter,
  type RateRule,
  type RateRules,
  rateLimited,
  rateLimitInterceptor,
} from "./rate-limit.ts";
export { type RetryOptions, retryInterceptor } from "./retry.ts";
export { bearerInterceptor, serviceTokenAuthenticator } from "./service-token.ts";
export { clientTraceInterceptor, traceInterceptor } from "./trace.ts";
export { readInterceptor, UnreadMessage } from "./unread-message.ts";
export { validateInterceptor } from "./validate.ts";
