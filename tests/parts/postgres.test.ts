import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { expect } from "chai";
import { Client } from "pg";
import { startPostgres } from "../../scripts/parts/postgres.ts";
import { run } from "../../scripts/parts/run.ts";
import { log, need } from "./need.ts";

describe("the Postgres part", function () {
  this.timeout(600_000);

  it("answers a query, and stop leaves no process and no folder", async function () {
    const before = await folders();
    const postgres = need(this, await startPostgres({ log }));
    let pid: number;
    try {
      expect(await ask(postgres.url, "select 1 as answer")).to.equal(1);
      expect(await ask(postgres.url, "show fsync")).to.equal("off");
      pid = Number(await ask(postgres.url, "select pg_backend_pid()"));
    } finally {
      await postgres.stop();
    }
    expect(existsSync(`/proc/${pid}`)).to.equal(false);
    expect(await folders()).to.deep.equal(before);
    const processes = await run("ps", ["-eo", "args"], { timeoutMs: 10_000 });
    expect(processes).not.to.contain(`-p ${new URL(postgres.url).port}`);
  });

  it("stops while a client is connected", async function () {
    const postgres = need(this, await startPostgres({ log }));
    const client = new Client({ connectionString: postgres.url });
    const lost = new Promise((resolve) => client.on("error", resolve));
    await client.connect();
    await postgres.stop();
    await lost;
  });

  it("keeps commits on the disk when asked to", async function () {
    const postgres = need(this, await startPostgres({ durable: true, log }));
    try {
      expect(await ask(postgres.url, "show fsync")).to.equal("on");
    } finally {
      await postgres.stop();
    }
  });

  it("lets nobody in without the password", async function () {
    const postgres = need(this, await startPostgres({ log }));
    try {
      const url = new URL(postgres.url);
      url.password = "wrong";
      const refused = await ask(url.href, "select 1").catch((error: unknown) => String(error));
      expect(refused).to.contain("password authentication failed");
    } finally {
      await postgres.stop();
    }
  });
});

/** The first column of the first row. */
async function ask(url: string, sql: string): Promise<unknown> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query({ text: sql, rowMode: "array" });
    return rows[0]?.[0];
  } finally {
    await client.end();
  }
}

async function folders(): Promise<string[]> {
  return (await readdir(tmpdir())).filter((name) => name.startsWith("devmesh-postgres-"));
}
