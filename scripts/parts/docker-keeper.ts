/**
 * The process between our Docker engine and its users, started by `docker-lease.ts`. Each user
 * holds one connection; the engine ends when the last is closed, as the kernel does for a user
 * that is killed. The first line sent to a user says whether the engine is ready.
 */
import { rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { holdLock } from "./cache.ts";
import type { Child } from "./child.ts";
import { enginePlace, removeRuntime, startEngine } from "./docker-engine.ts";
import { attempt } from "./part.ts";

const earlierKeeperLimitMs = 60_000;
const firstUserLimitMs = 20_000;

async function keep(): Promise<void> {
  const lock = await holdLock("docker-engine", earlierKeeperLimitMs);
  if (!lock) throw new Error("an earlier keeper does not end");
  const place = await enginePlace();
  const path = join(place.runDir, "keeper.sock");
  rmSync(path, { force: true });

  const users = new Set<Socket>();
  const noMoreUsers = Promise.withResolvers<void>();
  const server = createServer({ allowHalfOpen: true }, (user) => {
    users.add(user);
    clearTimeout(lonely);
    const leave = () => {
      if (!users.delete(user)) return;
      if (users.size > 0) user.end();
      else noMoreUsers.resolve();
    };
    // The last user's connection is closed only when the engine has ended.
    user.on("end", leave).on("close", leave).on("error", leave).resume();
    void started.then((result) => {
      if (user.writable) user.write(`${JSON.stringify(result.ok ? { ok: true } : result)}\n`);
    });
  });
  const lonely = setTimeout(noMoreUsers.resolve, firstUserLimitMs);
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, noMoreUsers.resolve);
  const started = attempt<Child>("look at the log of the Docker engine", () => startEngine(place));
  server.listen(path);

  const result = await started;
  if (result.ok) {
    await Promise.race([noMoreUsers.promise, result.value.ended]);
    // Who connects from here on is refused and starts the next keeper.
    server.close();
    await result.value.stop();
  }
  await removeRuntime(place);
  lock.release();
}

await keep();
// Closes the connections that are left, in which their users see that the engine has ended.
process.exit();
