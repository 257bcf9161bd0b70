/** Owns which servers a runner may be told to join. */
import { isLoopbackHost } from "@devmesh/sdk";
import type { Args } from "./args.ts";
import { UsageError } from "./usage-error.ts";

/** Throws `UsageError` unless `--join` names a server that the token may be shown to. */
export function checkJoinUrl(url: string, args: Args): void {
  if (url === "") throw new UsageError("--join is missing", "name the server: --join URL");
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const { protocol = "", pathname = "/", search = "", username = "" } = parsed ?? {};
  if (
    !/^https?:\/\/[A-Za-z0-9.:[\]-]+\/?$/.test(url) ||
    pathname !== "/" ||
    search + username !== ""
  ) {
    throw new UsageError(`--join: ${JSON.stringify(url)} is not http(s)://HOST[:PORT]`);
  }
  const isOpen = protocol === "http:" && !isLoopbackHost(parsed?.hostname ?? "");
  if (!isOpen || args.flag("insecure")) return;
  throw new UsageError(
    "the token would travel in the open: the server's URL is plain HTTP to another host",
    "take https://, or add --insecure where the network itself is private",
  );
}
