/** Serves the built console at the public door, with one page for all its addresses. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { extname, join, resolve, sep } from "node:path";
import type { HttpExchange, HttpHandler } from "@devmesh/mesh/server";

const mediaTypes: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".map": "application/json",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".json": "application/json",
  ".txt": "text/plain; charset=utf-8",
  ".woff2": "font/woff2",
};

/** The console loads nothing from elsewhere and runs in no frame. */
const pageHeaders = {
  "content-security-policy":
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-cache",
};

/** Addresses that are never the console's: an unknown one below them is a JSON 404. */
const notPages =
  /^\/(devmesh\.|grpc\.|(v1|mcp|\.well-known|openapi\.json|livez|readyz|metrics)(\/|$))/;

/** Serves the files of `folder`; without one, `/` says how to build it. */
export function createConsoleHandler(folder: string | undefined): HttpHandler {
  const root = folder === undefined ? undefined : resolve(folder);
  const built = root !== undefined && existsSync(join(root, "index.html")) ? root : undefined;
  return async (exchange) => {
    if (exchange.verb !== "GET" && exchange.verb !== "HEAD") return false;
    const { pathname } = exchange.url;
    if (notPages.test(pathname)) return false;
    if (built === undefined) {
      if (pathname !== "/") return false;
      exchange.bytes(200, "text/plain; charset=utf-8", Buffer.from(notBuilt));
      return true;
    }
    return serveFile(exchange, built, pathname);
  };
}

const notBuilt = "devmesh is up. The console is not built here: run `node scripts/build.ts`.\n";

async function serveFile(exchange: HttpExchange, root: string, pathname: string): Promise<boolean> {
  const path = fileOf(root, pathname);
  const isAsset = pathname.startsWith("/assets/");
  const found = path === undefined ? undefined : await read(path);
  if (found !== undefined && path !== undefined) {
    const type = mediaTypes[extname(path)] ?? "application/octet-stream";
    // Names of assets carry a hash of their content.
    const cache = { "cache-control": "public, max-age=31536000, immutable" };
    exchange.bytes(200, type, found, isAsset ? { ...pageHeaders, ...cache } : pageHeaders);
    return true;
  }
  if (isAsset || extname(pathname) !== "") return false;
  const page = await read(join(root, "index.html"));
  if (page === undefined) return false;
  exchange.bytes(200, "text/html; charset=utf-8", page, pageHeaders);
  return true;
}

/** The file below the root that a path names; undefined if it would leave the root. */
function fileOf(root: string, pathname: string): string | undefined {
  let decoded: string;
  try {
    decoded = decodeURIComponent(pathname);
  } catch {
    return undefined;
  }
  if (decoded.includes("\0")) return undefined;
  const path = join(root, decoded === "/" ? "index.html" : decoded);
  return path.startsWith(root + sep) ? path : undefined;
}

async function read(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch {
    // Not there, or a folder: the caller answers 404 or the one page.
    return undefined;
  }
}
