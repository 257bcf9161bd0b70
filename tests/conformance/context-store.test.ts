/** Every context store passes one suite. */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Postgres, startPostgres } from "../../scripts/parts/postgres.ts";
import { MemoryContextStore } from "../../services/mcp/documents/context-store.memory.ts";
import { PostgresContextStore } from "../../services/mcp/documents/context-store.postgres.ts";
import { SqliteContextStore } from "../../services/mcp/documents/context-store.sqlite.ts";
import { contextStoreSuite } from "../../services/mcp/documents/context-store.suite.ts";
import { need } from "../parts/need.ts";

describe("context store", () => {
  describe("memory", () => {
    contextStoreSuite(async () => new MemoryContextStore());
  });

  describe("sqlite", () => {
    let folder: string;
    let files = 0;
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), "devmesh-context-"));
    });
    after(() => rm(folder, { recursive: true, force: true }));

    contextStoreSuite(async () => {
      files += 1;
      return new SqliteContextStore({ path: join(folder, `${files}.db`) });
    });
  });

  describe("postgres", () => {
    let server: Postgres | undefined;
    before(async function () {
      this.timeout(180_000);
      server = need(this, await startPostgres());
    });
    after(() => server?.stop());

    contextStoreSuite(() => {
      if (server === undefined) throw new Error("no Postgres");
      const schema = `mcp_${randomUUID().replaceAll("-", "")}`;
      return PostgresContextStore.open({ url: server.url, schema });
    });
  });
});
