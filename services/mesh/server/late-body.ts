/** Ends requests whose body does not end. */
import { constants, type ServerHttp2Stream } from "node:http2";
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

/**
 * Tells a client of HTTP/2 that has its answer, and still sends, to stop: the
 * rest would fill the windows of a connection that other calls share.
 */
export function endUploadAfter(stream: ServerHttp2Stream): void {
  stream.once("wantTrailers", () =>
    // The trailers go out in this turn: a stream that is closed sends none.
    setImmediate(() => {
      if (!stream.readableEnded && !stream.closed) stream.close(constants.NGHTTP2_NO_ERROR);
    }),
  );
}
