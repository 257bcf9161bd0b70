export { openApiDocument } from "./openapi.ts";
export { createRestHandler, type RestOptions } from "./rest-handler.ts";
export { type RestRoute, restRoutes } from "./routes.ts";
