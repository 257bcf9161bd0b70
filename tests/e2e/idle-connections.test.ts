/** A platform whose connections are many, and say nothing. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { expect } from "chai";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { startUp, type Up } from "./up.ts";

/** Files that a process may have open, less those that it needs otherwise. */
const spare = openFileLimit() - 1000;
const count = Math.min(10_000, spare);

function openFileLimit(): number {
  const row = /^Max open files\s+\d+\s+(\d+|unlimited)/m.exec(
    readFileSync("/proc/self/limits", "utf8"),
  );
  return row?.[1] === undefined || row[1] === "unlimited" ? Infinity : Number(row[1]);
}

describe("idle connections", function () {
  this.timeout(240_000);
  let folder: TempFolder | undefined;
  let up: Up;

  before(async () => {
    folder = tempFolder();
    up = await startUp({ dataDir: join(folder.path, "data") });
  });
  after(async () => {
    await up?.stop("SIGKILL");
    folder?.[Symbol.dispose]();
  });

  it(`of ${count} clients keep nobody from an answer`, async () => {
    const idle: Socket[] = [];
    let ended = 0;
    try {
      for (let i = 0; i < count; i += 250) {
        const some = Array.from({ length: 250 }, () => connect(up.ports.api, "127.0.0.1"));
        idle.push(...some);
        for (const socket of some) {
          socket.on("error", () => {});
          socket.once("close", () => {
            ended += 1;
          });
        }
        await Promise.all(some.map((socket) => once(socket, "connect")));
        // The head of a request has more time than a connection that says nothing at all.
        for (const socket of some) socket.write("GET /livez HTTP/1.1\r\n");
      }
      const headers = { authorization: `Bearer ${up.token}` };
      for (let i = 0; i < 20; i++) {
        const res = await fetch(`${up.url}/v1/jobs`, { headers });
        expect(res.status).to.equal(200);
        await res.arrayBuffer();
      }
      // Most are there still: it was not their end that made room.
      expect(ended).to.be.below(count / 2);
    } finally {
      for (const socket of idle) socket.destroy();
    }
  });
});
