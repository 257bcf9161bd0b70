/** Owns the bearer token on its way out. */
import type { Interceptor } from "@connectrpc/connect";
import type { DevmeshOptions } from "./options.ts";
import { checkTokenIsSafe } from "./options.ts";

/** Adds the token to each call, after proving that it does not travel in the open. */
export function createAuthInterceptor(options: DevmeshOptions): Interceptor {
  const { baseUrl, token, insecure = false } = options;
  if (typeof token === "string" && token !== "") checkTokenIsSafe(baseUrl, insecure);
  return (next) => async (request) => {
    const secret = typeof token === "function" ? await token() : token;
    if (secret !== undefined && secret !== "") {
      checkTokenIsSafe(baseUrl, insecure);
      request.header.set("authorization", `Bearer ${secret}`);
    }
    return next(request);
  };
}
