/**
 * Secrets are planted in a real platform; jobs, models and callers fail in it;
 * then everything that it says and keeps is searched for them.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  globSync,
  mkdirSync,
  openSync,
  readSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect } from "chai";
import { Client } from "pg";
import { type Postgres, startPostgres } from "../../scripts/parts/postgres.ts";
import { startUp, type Up, untilRunner } from "../e2e/up.ts";
import { log, need } from "../parts/need.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";

/** A secret of no known form: only who never says it keeps it. */
const canary = (name: string) => `canary${name}${randomBytes(12).toString("hex")}`;

/** Answers every call with a refusal that repeats the key it was shown. */
function echoingModel(): Server {
  return createServer((req, res) => {
    req.resume();
    const key = req.headers.authorization ?? String(req.headers["x-api-key"] ?? "");
    const message = `Incorrect API key provided: ${key}. Authorization: ${key}`;
    res.writeHead(req.url?.endsWith("/models") ? 500 : 401, {
      "content-type": "application/json",
    });
    res.end(JSON.stringify({ error: { message, type: "invalid_request_error" } }));
  });
}

describe("planted secrets", function () {
  this.timeout(240_000);
  let folder: TempFolder;
  let postgres: Postgres;
  let model: Server;
  let up: Up;
  let secrets: Record<string, string>;
  /** What the platform answered, with the way that led to it. */
  const answers: { name: string; text: string }[] = [];

  before(async function () {
    postgres = need(this, await startPostgres({ log }));
    folder = tempFolder();
    model = echoingModel();
    model.listen(0, "127.0.0.1");
    await once(model, "listening");
    const { port } = model.address() as AddressInfo;
    secrets = {
      cloudKey: `sk-${canary("Cloud")}`,
      serviceToken: canary("Service"),
      ollamaPassword: canary("Ollama"),
      storagePassword: decodeURIComponent(new URL(postgres.url).password),
      wrongToken: `dm_${canary("Wrong")}`,
      foreignToken: `github_pat_${canary("Foreign")}`,
      hostVariable: canary("Host"),
    };
    const dataDir = join(folder.path, "data");
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    writeFileSync(join(dataDir, "service.token"), `${secrets.serviceToken}\n`, { mode: 0o600 });
    up = await startUp({
      dataDir,
      env: {
        LOG_LEVEL: "trace",
        STORAGE_URL: postgres.url,
        CLOUD_API_KEYS: `openai=${secrets.cloudKey}`,
        CLOUD_PROVIDER_BASE_URL: `http://127.0.0.1:${port}/v1`,
        OLLAMA_BASE_URL: `http://me:${secrets.ollamaPassword}@127.0.0.1:9`,
        SOME_SECRET_OF_THE_HOST: String(secrets.hostVariable),
      },
    });
    secrets.ownerToken = up.token;
    await untilRunner(up);
    await misuse();
  });
  after(async () => {
    await up?.stop();
    model?.close();
    await postgres?.stop();
    folder?.[Symbol.dispose]();
  });

  async function ask(path: string, init: RequestInit = {}, token = up.token): Promise<string> {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const res = await fetch(`${up.url}${path}`, {
      ...init,
      headers: { ...headers, ...(init.headers as object) },
    });
    const text = await res.text();
    answers.push({ name: `${init.method ?? "GET"} ${path}: ${res.status}`, text });
    return text;
  }
  const post = (path: string, body: unknown, token?: string) => {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return ask(path, { method: "POST", body: text }, token);
  };

  /** Jobs that succeed and fail, models that refuse, callers that are wrong or careless. */
  async function misuse(): Promise<void> {
    const { wrongToken = "", foreignToken = "" } = secrets;
    const made = JSON.parse(
      await post("/v1/tokens", { name: "mine", scopes: ["read:jobs", "read:system"] }),
    ) as { secret: string };
    // Shown once, to who made it: that answer is the one place where it may stand.
    answers.pop();
    secrets.madeToken = made.secret;
    for (const command of [["env"], ["sh", "-c", "cat /proc/*/environ; exit 3"], ["no-such"]]) {
      const { jobId } = await up.devmesh.jobs.create({ command });
      await up.devmesh.jobs.wait(jobId);
    }
    const messages = [{ role: "user", content: "hi" }];
    for (const name of ["openai/gpt", "ollama/any", "nobody/none"]) {
      await post("/v1/chat/completions", { model: name, messages });
      await post("/v1/llm/infer", { model: name, input: "hi" });
    }
    await ask("/v1/models");
    await ask("/v1/llm/models");
    await ask("/v1/jobs", {}, wrongToken);
    await ask("/v1/jobs", {}, up.token.slice(0, -1));
    await ask(`/v1/jobs/${foreignToken}`);
    await ask(`/v1/${foreignToken}`);
    await ask(`/v1/jobs?pageToken=${foreignToken}`);
    await ask(`/v1/tokens/${foreignToken}`, { method: "DELETE" });
    await ask("/v1/jobs", { headers: { "x-api-key": foreignToken, cookie: `a=${wrongToken}` } });
    await post("/v1/jobs", `{"command": ${foreignToken}`);
    await post("/v1/console-links:redeem", { secret: wrongToken });
    await ask("/v1/jobs", {}, made.secret);
    await ask("/v1/tokens", {}, made.secret);
    await ask(`/openapi.json`);
    for (const path of ["/v1/system", "/v1/settings", "/v1/tokens", "/v1/audit", "/v1/agents"]) {
      await ask(path);
    }
    const { jobs } = JSON.parse(await ask("/v1/jobs")) as { jobs: { id: string }[] };
    for (const { id } of jobs) {
      await ask(`/v1/jobs/${id}`);
      await ask(`/v1/jobs/${id}/events`, { headers: { accept: "text/event-stream" } });
    }
  }

  /** The names of the secrets that stand in a text, also where JSON or base64 hides them. */
  function found(text: string): string[] {
    const decoded = [...text.matchAll(/"(?:data|dataBase64)":"([A-Za-z0-9+/=]{16,})"/g)];
    const all = [text, ...decoded.map(([, data = ""]) => Buffer.from(data, "base64").toString())];
    return Object.keys(secrets).filter((name) => {
      const secret = secrets[name] ?? "";
      return all.some((part) => part.includes(secret));
    });
  }

  /** The same for a file of any size. */
  function foundInFile(path: string): string[] {
    const names = new Set<string>();
    const overlap = 1024;
    const chunk = Buffer.alloc(16 * 1024 * 1024);
    const file = openSync(path, "r");
    for (let at = 0, read = chunk.length; read > overlap; at += read - overlap) {
      read = readSync(file, chunk, 0, chunk.length, at);
      const bytes = chunk.subarray(0, read);
      for (const [name, secret] of Object.entries(secrets)) {
        if (bytes.includes(secret)) names.add(name);
      }
    }
    closeSync(file);
    return [...names];
  }

  it("are in no line of the log, at its loudest", () => {
    const text = up.log();
    // It says a lot: calls, refusals and failures of the models are in it.
    for (const word of ['"level":"debug"', "UNAUTHENTICATED", "PROVIDER_UNAVAILABLE"]) {
      expect(text).to.include(word);
    }
    for (const line of text.split("\n")) expect(found(line), line.slice(0, 500)).to.deep.equal([]);
  });

  it("are in no answer, event, audit row or document of the API", () => {
    expect(answers.length).to.be.greaterThan(25);
    for (const { name, text } of answers) expect(found(text), name).to.deep.equal([]);
    const all = answers.map(({ text }) => text).join("\n");
    for (const word of ["job.create", "openapi", "UNAUTHENTICATED", '"seq":']) {
      expect(all).to.include(word);
    }
  });

  it("are in no row of the database", async () => {
    const client = new Client({ connectionString: postgres.url });
    await client.connect();
    const { rows: tables } = await client.query<{ name: string }>(
      `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
       WHERE schemaname LIKE 'devmesh%'`,
    );
    expect(tables.length).to.be.greaterThan(5);
    let seen = 0;
    for (const { name } of tables) {
      const { rows } = await client.query<{ text: string }>(
        `SELECT to_jsonb(t)::text AS text FROM ${name} t`,
      );
      for (const { text } of rows) {
        seen += 1;
        const bytes = [...text.matchAll(/\\\\x([0-9a-f]{8,})/g)].map(([, hex = ""]) =>
          Buffer.from(hex, "hex").toString("latin1"),
        );
        expect(found([text, ...bytes].join("\n")), `${name}: ${text.slice(0, 300)}`).to.deep.equal(
          [],
        );
      }
    }
    await client.end();
    expect(seen).to.be.greaterThan(20);
  });

  it("are in two files of the data folder, which only their owner reads, and in no other", () => {
    const root = join(folder.path, "data");
    const files = globSync("**/*", { cwd: root }).filter((name) => {
      const path = join(root, name);
      return existsSync(path) && statSync(path).isFile();
    });
    const holding = files.flatMap((name) => {
      const names = foundInFile(join(root, name));
      return names.length === 0 ? [] : [{ name, names }];
    });
    // The search does find what is there: these are the places made for it.
    expect(holding).to.have.deep.members([
      { name: "owner.token", names: ["ownerToken"] },
      { name: "service.token", names: ["serviceToken"] },
    ]);
    for (const { name } of holding) {
      expect(statSync(join(root, name)).mode & 0o077, name).to.equal(0);
    }
  });
});
