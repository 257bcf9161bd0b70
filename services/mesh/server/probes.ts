/** `/livez` and `/readyz`. */
import type { HealthState } from "./health.ts";
import { type HttpHandler, methodNotAllowed } from "./http-exchange.ts";

/** `/livez`: the process lives. `/readyz`: every check of its dependencies succeeded. */
export function probeHandler(health: HealthState): HttpHandler {
  return async (exchange) => {
    const { pathname } = exchange.url;
    if (pathname !== "/livez" && pathname !== "/readyz") return false;
    if (exchange.verb !== "GET" && exchange.verb !== "HEAD") {
      throw methodNotAllowed(pathname, ["GET"]);
    }
    if (pathname === "/livez") {
      exchange.json(200, { status: "ok" });
      return true;
    }
    const { ready, checks } = await health.check();
    exchange.json(ready ? 200 : 503, {
      status: ready ? "ok" : health.draining ? "draining" : "unready",
      checks,
    });
    return true;
  };
}
