export { errorDomain, toConnectError, toDevmeshError } from "./connect-errors.ts";
export {
  DevmeshError,
  type DevmeshErrorOptions,
  invalidField,
  notFound,
} from "./devmesh-error.ts";
export { type Problem, problemType, toProblem } from "./problem.ts";
export { codeOf, isReason, isRetryable, type Reason, reasons, statusOf } from "./reasons.ts";
