/** Ends requests whose body does not end. */
import { constants } from "node:http2";
import type { HttpRequest } from "./http-exchange.ts";

/**
 * Cuts the request if its body is not whole after `timeoutMs`: the stream of
 * HTTP/2, the connection of HTTP/1.1.
 */
export function cutLateBody(req: HttpRequest, timeoutMs: number): void {
  if ("stream" in req && req.stream.endAfterHeaders) return;
  const late = setTimeout(() => {
    if (req.complete) return;
    if ("stream" in req) req.stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    else req.socket.destroy();
  }, timeoutMs);
  late.unref();
  const clear = () => clearTimeout(late);
  req.once("end", clear);
  req.once("close", clear);
}
