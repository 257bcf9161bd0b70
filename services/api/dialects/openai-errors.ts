/** Refusals in the OpenAI dialect's own shape. */
import { DevmeshError, statusOf, toDevmeshError } from "@devmesh/mesh/errors";
import type { HttpExchange } from "@devmesh/mesh/server";
import type { ParamName } from "./openai-params.ts";

/** Answers an error, unless the head is out already: then the connection is cut. */
export function refuse(exchange: HttpExchange, error: unknown, paramOf?: ParamName): void {
  if (exchange.res.headersSent) {
    exchange.fail(error);
    return;
  }
  const failure = inClientsWords(error, paramOf);
  exchange.refuseWith(error);
  exchange.dropBody();
  exchange.json(statusOf(failure.reason), errorBody(failure));
}

/** The error with the client's own names for the fields that it names. */
export function inClientsWords(error: unknown, paramOf?: ParamName): DevmeshError {
  const failure = toDevmeshError(error);
  const { reason, metadata } = failure;
  if (paramOf === undefined || metadata.field === undefined) return failure;
  let { message } = failure;
  const fields = metadata.field.split(",");
  for (const field of fields) message = message.replaceAll(`${field}: `, `${paramOf(field)}: `);
  const named = { ...metadata, field: [...new Set(fields.map(paramOf))].join(",") };
  return new DevmeshError(reason, message, { metadata: named, cause: error });
}

/** The body of a refusal; `param` names the first field in fault. */
export function errorBody({ reason, message, metadata }: DevmeshError): object {
  const field = reason === "MODEL_NOT_FOUND" ? "model" : metadata.field?.split(",", 1)[0];
  return {
    error: {
      message,
      type: statusOf(reason) < 500 ? "invalid_request_error" : "api_error",
      param: field ?? null,
      code: reason.toLowerCase(),
    },
  };
}
