/** Owns plain GET requests through a Unix socket, which `fetch` cannot reach. */
import { type IncomingMessage, request } from "node:http";
import { createFetchGet, type HttpGet } from "../http-get.ts";
import { socketPathOf } from "./transport.ts";

/** By `fetch`, or through the socket of `unix:/path`. */
export function createNodeGet(baseUrl: string): HttpGet {
  const socketPath = socketPathOf(baseUrl);
  if (socketPath === undefined) return createFetchGet(baseUrl);
  return async (path, { headers, signal }) => {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const init = { socketPath, path, headers: Object.fromEntries(headers), signal };
      request(init, resolve).on("error", reject).end();
    });
    return {
      status: answer.statusCode ?? 0,
      header: (name) => String(answer.headers[name] ?? ""),
      body: answer,
    };
  };
}
