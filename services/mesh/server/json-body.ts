/** Which bodies may be read as JSON. */
import { DevmeshError } from "../errors/index.ts";
import type { HttpExchange } from "./http-exchange.ts";

/**
 * JSON by its name, and what `curl -d` and `fetch` say of a text when nobody
 * has told them what it is.
 */
const taken = /^(application\/(json|[\w.+-]+\+json|x-www-form-urlencoded)|text\/(json|plain))$/;

/** Throws UNSUPPORTED_MEDIA_TYPE for a body that says it is something else than JSON. */
export function requireJson(exchange: HttpExchange): void {
  const named = exchange.header("content-type");
  const type = named.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  if (type === "" || taken.test(type)) return;
  const text = `Content-Type: ${JSON.stringify(named)} is not taken here, application/json is`;
  throw new DevmeshError("UNSUPPORTED_MEDIA_TYPE", text, { metadata: { field: "Content-Type" } });
}
