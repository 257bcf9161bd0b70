/** grpcurl, a gRPC client that is not ours, for tests of the wire. */
import { join } from "node:path";
import { cached } from "./cache.ts";
import { attempt, type Found, here, missing, type PartOptions } from "./part.ts";
import { findOnPath, run } from "./run.ts";

const version = "v1.9.4";
const modulePath = `github.com/fullstorydev/grpcurl/cmd/grpcurl@${version}`;
const buildLimitMs = 1_200_000;

/** Finds `grpcurl` on PATH, or builds it where Go is there (some minutes on the first call). */
export async function findGrpcurl(options: PartOptions = {}): Promise<Found<{ path: string }>> {
  const path = findOnPath("grpcurl");
  if (path) return here({ path });
  const remedy = "put grpcurl on PATH, or install Go and let it reach a module proxy";
  if (!findOnPath("go")) return missing("neither grpcurl nor go is on PATH", remedy);
  return await attempt(remedy, async () => {
    const folder = await cached(`grpcurl-${version}`, async (target) => {
      options.log?.(`building grpcurl ${version} (some minutes)`);
      const env = { GOBIN: target };
      await run("go", ["install", modulePath], { env, timeoutMs: buildLimitMs });
    });
    return { path: join(folder, "grpcurl") };
  });
}
