/** One key, one job: many callers at once, over two backends that share one Postgres. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { expect } from "chai";
import { freePort } from "../../scripts/parts/free-port.ts";
import { createDevmesh, DevmeshApiError, type NodeDevmesh } from "../../sdk/ts/src/node.ts";
import { postgresUrl } from "../conformance/store-places.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { type Program, startProgram } from "./program.ts";
import { isReady, until } from "./wait.ts";

/** How often eight callers meet. */
const rounds = 1_000;

describe("one idempotency key at eight callers and two backends", function () {
  this.timeout(600_000);
  let folder: TempFolder;
  const programs: Program[] = [];
  const clients: NodeDevmesh[] = [];

  before(async function () {
    const storageUrl = await postgresUrl(this);
    folder = tempFolder();
    const serviceToken = randomBytes(24).toString("base64url");
    const urls: string[] = [];
    for (const name of ["a", "b"]) {
      const port = await freePort();
      const dataDir = join(folder.path, name);
      mkdirSync(dataDir);
      const env = {
        HOME: dataDir,
        DEVMESH_DATA_DIR: dataDir,
        API_PORT: String(port),
        STORAGE_URL: storageUrl,
        DEVMESH_SERVICE_TOKEN: serviceToken,
        LOG_LEVEL: "warn",
      };
      programs.push(startProgram({ args: ["serve", "api"], env }));
      const url = `http://127.0.0.1:${port}`;
      urls.push(url);
      await until(`backend ${name} is ready`, () => isReady(url));
    }
    const token = readFileSync(join(folder.path, "a", "owner.token"), "utf8").trim();
    for (let i = 0; i < 8; i++) {
      clients.push(createDevmesh({ baseUrl: urls[i % 2] ?? "", token, retry: { maxRetries: 0 } }));
    }
  });

  after(async () => {
    for (const client of clients) client.close();
    for (const program of programs) await program.end("SIGTERM");
    folder[Symbol.dispose]();
  });

  it(`makes one job each of ${rounds} times, and every answer names it`, async () => {
    const made = new Set<string>();
    for (let round = 0; round < rounds; round++) {
      const options = { idempotencyKey: `round-${round}-${randomBytes(8).toString("hex")}` };
      const command = ["echo", String(round)];
      const answers = await Promise.all(clients.map((c) => c.jobs.create({ command }, options)));
      const ids = new Set(answers.map(({ jobId }) => jobId));
      expect(ids.size, `round ${round}`).to.equal(1);
      expect(answers.filter(({ replayed }) => !replayed)).to.have.length(1);
      for (const id of ids) made.add(id);
    }
    expect(made.size).to.equal(rounds);
  });

  it("refuses the key with another body, naming the key and the first job", async () => {
    const [first, second] = clients;
    const options = { idempotencyKey: `other-body-${randomBytes(8).toString("hex")}` };
    const made = await first?.jobs.create({ command: ["echo", "one"] }, options);
    const refused = await second?.jobs.create({ command: ["echo", "two"] }, options).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (!(refused instanceof DevmeshApiError)) throw new Error("the second body was taken");
    expect(refused.reason).to.equal("KEY_REUSED");
    expect(refused.metadata).to.include({ key: options.idempotencyKey, job_id: made?.jobId });
    expect(refused.code).to.equal(Code.AlreadyExists);
    expect(refused.message).to.include(options.idempotencyKey).and.include(made?.jobId);
  });
});
