/** Serves the OpenAPI document of the REST routes. */
import { type HttpHandler, methodNotAllowed } from "@devmesh/mesh/server";

/** Answers `GET /openapi.json`. */
export function openApiHandler(document: unknown): HttpHandler {
  return (exchange) => {
    const { verb, url } = exchange;
    if (url.pathname !== "/openapi.json") return false;
    if (verb !== "GET" && verb !== "HEAD") throw methodNotAllowed(url.pathname, ["GET"]);
    exchange.json(200, document);
    return true;
  };
}
