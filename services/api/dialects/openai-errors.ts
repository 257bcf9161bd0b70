/** Refusals in the OpenAI dialect's own shape. */
import { type DevmeshError, statusOf, toDevmeshError } from "@devmesh/mesh/errors";
import type { HttpExchange } from "@devmesh/mesh/server";

/** Answers an error, unless the head is out already: then the connection is cut. */
export function refuse(exchange: HttpExchange, error: unknown): void {
  if (exchange.res.headersSent) {
    exchange.fail(error);
    return;
  }
  const failure = toDevmeshError(error);
  const { requestId } = exchange.problem(error);
  if (requestId !== "") exchange.res.setHeader("x-request-id", requestId);
  const { allow } = failure.metadata;
  if (allow !== undefined) exchange.res.setHeader("allow", allow);
  if (failure.retryAfterMs !== undefined) {
    exchange.res.setHeader("retry-after", String(Math.ceil(failure.retryAfterMs / 1000)));
  }
  if (failure.reason === "UNAUTHENTICATED") {
    exchange.res.setHeader("www-authenticate", "Bearer");
  }
  exchange.dropBody();
  exchange.json(statusOf(failure.reason), errorBody(failure));
}

/** The body of a refusal; `param` names the field. */
export function errorBody({ reason, message, metadata }: DevmeshError): object {
  return {
    error: {
      message,
      type: statusOf(reason) < 500 ? "invalid_request_error" : "api_error",
      param: metadata.field ?? null,
      code: reason.toLowerCase(),
    },
  };
}
