/** The other commands: their text, their JSON, their exit codes. */
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { everyByte } from "../sdk/fake/fake-programs.ts";
import { tempFolder } from "../sdk/temp-folder.ts";
import { type CliBed, openBed } from "./bed.ts";
import { jsonLines } from "./run-cli.ts";

describe("devmesh commands", function () {
  this.timeout(60_000);
  let bed: CliBed;
  beforeEach(async () => {
    bed = await openBed();
  });
  afterEach(() => bed.close());

  const create = async (...command: string[]) => {
    const { out } = await bed.cli(["run", "--detach", "--", ...command]);
    return out.trim();
  };
  const json = async (...args: string[]) => {
    const { code, out } = await bed.cli([...args, "--json"]);
    const lines = jsonLines(out);
    expect(lines).to.have.length(1);
    return { code, data: lines[0] ?? {} };
  };

  it("jobs list: a table, filters, JSON", async () => {
    const good = await create("echo", "hi");
    const bad = await create("exit", "1");
    const { out } = await bed.cli(["jobs", "list"]);
    expect(out).to.match(/^ID\s+STATUS\s+TYPE/);
    expect(out)
      .to.match(new RegExp(`${bad}\\s+✗ failed`))
      .and.match(new RegExp(`${good}\\s+✓ succ`));
    const { data } = await json("jobs", "list", "--status", "failed", "--type", "command");
    expect(data.jobs).to.have.length(1);
    expect(data).to.have.nested.property("jobs[0].id", bad);
    expect((await json("jobs", "list", "--limit", "1")).data.jobs).to.have.length(1);
    expect((await bed.cli(["jobs", "list", "--status", "odd"])).code).to.equal(2);
  });

  it("jobs list: says so when there are none", async () => {
    const { code, out, err } = await bed.cli(["jobs", "list"]);
    expect({ code, out }).to.deep.equal({ code: 0, out: "" });
    expect(err).to.include("devmesh run");
  });

  it("jobs get: all events, numbers as numbers, bytes as text or base64", async () => {
    const id = await create("bytes");
    expect((await bed.cli(["jobs", "get", id])).out).to.include(`id         ${id}`);
    const { data } = await json("jobs", "get", id, "--events");
    expect(data).to.have.all.keys("job", "events", "fencedWrites");
    const events = data.events as Record<string, unknown>[];
    expect(events.map(({ seq }) => seq)).to.deep.equal(events.map((_, i) => i + 1));
    expect(events.at(-1)).to.include({ type: "result" });
    const logs = events.filter(({ type }) => type === "log");
    const bytes = logs.map(({ text, dataBase64 }) =>
      typeof text === "string" ? Buffer.from(text) : Buffer.from(String(dataBase64), "base64"),
    );
    expect(Buffer.concat(bytes).equals(everyByte)).to.equal(true);
    expect(logs.some((log) => "text" in log)).to.equal(true);
    expect(logs.some((log) => "dataBase64" in log)).to.equal(true);
    for (const { time } of events) expect(time).to.match(/^\d{4}-\d\d-\d\dT.*Z$/);
  });

  it("jobs watch: the log, from an event on, and 1 for a failed job", async () => {
    const id = await create("many", "5");
    expect((await bed.cli(["jobs", "watch", id])).out).to.equal(
      "line 1\nline 2\nline 3\nline 4\nline 5\n",
    );
    const { out } = await bed.cli(["jobs", "watch", id, "--from", "7", "--json"]);
    expect(jsonLines(out).map(({ seq }) => seq)).to.deep.equal([7, 8]);
    expect((await bed.cli(["jobs", "watch", await create("exit", "9")])).code).to.equal(1);
  });

  it("jobs watch: says so where the job ended before the event", async () => {
    const id = await create("echo", "hi");
    await bed.cli(["jobs", "watch", id]);
    const { code, err } = await bed.cli(["jobs", "watch", id, "--from", "99"]);
    expect(code).to.equal(2);
    expect(err).to.include("the job ended before event 99").and.not.include("reconnecting");
  });

  it("names the word that is missing, also where it is empty", async () => {
    for (const words of [
      ["jobs", "get"],
      ["jobs", "get", ""],
    ]) {
      const { code, err } = await bed.cli(words);
      expect(code).to.equal(2);
      expect(err).to.include("ID is missing");
    }
    expect((await bed.cli(["serve", "api", "--bogus"])).code).to.equal(2);
    expect((await bed.cli(["serve", "api", "more"])).code).to.equal(2);
    expect((await bed.cli(["serve", "--json"])).err).to.include("the service is missing");
  });

  it("saves in plain files alone", async () => {
    using folder = tempFolder();
    const id = await create("echo", "hi");
    symlinkSync("nowhere", join(folder.path, "link"));
    const there = folder.write("there", "x");
    for (const [out, text] of [
      [folder.path, "is a folder"],
      [join(folder.path, "link"), "is no plain file"],
      ["/dev/null", "is no plain file"],
      [join(folder.path, "none", "x"), "there is no folder"],
    ] as const) {
      for (const words of [["backup"], ["jobs", "log", id]]) {
        const { code, err } = await bed.cli([...words, "--out", out]);
        expect(code, words[0]).to.equal(2);
        expect(err).to.include(text);
      }
    }
    expect((await bed.cli(["jobs", "log", id, "--out", there])).err).to.include("is there already");
  });

  it("jobs watch: Ctrl-C leaves the job alone", async () => {
    const id = await create("hang");
    let sent = false;
    const { code } = await bed.cli(["jobs", "watch", id], {
      onErr: (text, child) => {
        if (!sent && text.includes("running")) sent = child.kill("SIGINT");
      },
    });
    expect(code).to.equal(130);
    expect(bed.fake.jobs.entry(id).job.cancelRequested).to.equal(false);
  });

  it("jobs cancel and retry", async () => {
    const id = await create("hang");
    expect((await json("jobs", "cancel", id)).data).to.have.nested.property("job.cancelRequested");
    await bed.cli(["jobs", "watch", id]);
    expect((await bed.cli(["jobs", "cancel", id])).code).to.equal(5);
    const again = await bed.cli(["jobs", "retry", id]);
    expect(again.out)
      .to.match(/^job_\d+\n$/)
      .and.not.include(id);
    expect((await bed.cli(["jobs", "retry", again.out.trim()])).code).to.equal(5);
  });

  it("jobs artifacts: lists and downloads", async () => {
    using folder = tempFolder();
    const id = await create("changes");
    await bed.cli(["jobs", "watch", id]);
    expect((await bed.cli(["jobs", "artifacts", id])).out).to.match(
      /changes\.tar\s+.* KiB\s+[0-9a-f]{64}/,
    );
    const { data } = await json("jobs", "artifacts", id, "--out", folder.path);
    expect(data).to.have.nested.property("artifacts[0].file", join(folder.path, "changes.tar"));
    expect(readFileSync(join(folder.path, "changes.tar")).length).to.be.greaterThan(1000);
  });

  it("ingest: outcomes, and what was left out", async () => {
    using folder = tempFolder({ "docs/a.md": "needle", "docs/node_modules/x.md": "", "b.md": "b" });
    folder.write("docs/bin", Buffer.from([0, 1]));
    const options = { cwd: folder.path };
    const first = await bed.cli(["ingest", "docs", "b.md", "--json"], options);
    const [data] = jsonLines(first.out);
    expect(data).to.have.deep.nested.property("outcomes[0].source", "docs/a.md");
    expect(data).to.have.deep.nested.property("outcomes[1].source", "b.md");
    expect(data?.skipped).to.deep.equal([
      { source: "docs/bin", reason: "binary" },
      { source: "docs/node_modules", reason: "dependencies" },
    ]);
    const second = await bed.cli(["ingest", "."], options);
    expect(second.out).to.equal("2 documents: 2 unchanged\n");
    expect((await bed.cli(["ingest"])).code).to.equal(2);
    expect((await bed.cli(["ingest", "/nonexistent"])).code).to.equal(2);
    const found = await bed.cli(["search", "needle"]);
    expect(found.out).to.match(/^docs\/a\.md:1-1/);
    expect(found.err).to.include("degraded: no embedding model");
    expect((await json("search", "needle")).data).to.have.nested.property("items[0].source");
    expect((await bed.cli(["search"])).code).to.equal(2);
  });

  it("infer: streams, reads stdin, and JSON pieces", async () => {
    const { out, err } = await bed.cli(["infer", "hello there"]);
    expect(out).to.equal("echo: hello there\n");
    expect(err).to.include("scripted/m: the only one, 2 + 3 tokens");
    expect((await bed.cli(["infer", "-"], { input: "piped" })).out).to.equal("echo: piped\n");
    const pieces = jsonLines((await bed.cli(["infer", "x", "--json"])).out);
    expect(pieces[0]).to.have.nested.property("route.provider", "scripted");
    expect(pieces.at(-1)).to.have.nested.property("end.finishReason", "stop");
    const wrong = await bed.cli(["infer", "--model", "none", "x"]);
    expect(wrong.code).to.equal(4);
    expect(wrong.err).to.include("remedy: `devmesh models`");
    expect((await bed.cli(["infer", "--temperature", "9", "x"])).code).to.equal(2);
  });

  it("models", async () => {
    expect((await bed.cli(["models"])).out).to.match(/scripted\/m\s+local\s+chat/);
    expect((await json("models")).data).to.have.nested.property("models[0].name", "m");
  });

  it("tokens: the secret alone on stdout, then listed and revoked", async () => {
    const made = await bed.cli(["tokens", "create", "ci", "--scope", "read:jobs,write:jobs"]);
    expect(made.out).to.equal("secret-of-tok_00000000000000000000000002\n");
    const id = made.out.trim().replace("secret-of-", "");
    expect((await bed.cli(["tokens", "list"])).out).to.match(
      new RegExp(`${id}\\s+ci\\s+owner\\s+valid`),
    );
    expect((await json("tokens", "revoke", id)).data).to.have.nested.property("token.revokeTime");
    expect((await bed.cli(["tokens", "list"])).out).to.match(
      new RegExp(`${id}\\s+ci\\s+owner\\s+revoked`),
    );
    const revoked = await bed.cli(["jobs", "list", "--token", made.out.trim()]);
    expect(revoked.code).to.equal(3);
    expect((await bed.cli(["tokens", "create", "ci"])).code).to.equal(2);
    expect((await bed.cli(["tokens", "revoke", "nope"])).code).to.equal(4);
    const limited = await json("tokens", "create", "x", "--scope", "read:jobs", "--expires", "30d");
    expect(limited.data).to.have.nested.property("token.expireTime");
  });

  it("tokens: another owner, and a new secret alone on stdout", async () => {
    const made = await json("tokens", "create", "ci", "--scope", "read:jobs", "--owner", "ann");
    expect(made.data).to.have.nested.property("token.owner", "ann");
    expect((await bed.cli(["tokens", "list"])).out).to.match(/ci\s+ann\s+valid/);
    const id = (made.data.token as { id: string }).id;
    const rotated = await bed.cli(["tokens", "rotate", id, "--grace", "1h"]);
    expect(rotated.out).to.equal(`secret-of-${id}-again\n`);
    expect(rotated.err).to.include("ends in 1h");
    expect((await bed.cli(["tokens", "rotate", id])).err).to.include("has ended");
    expect((await bed.cli(["tokens", "rotate", id, "--grace", "soon"])).code).to.equal(2);
    expect((await bed.cli(["tokens", "rotate", "nope"])).code).to.equal(4);
    expect((await json("tokens", "rotate", id)).data).to.have.property("secret");
  });

  it("audit: a table, JSON, and a check whose status tells", async () => {
    expect((await bed.cli(["audit", "list"])).out).to.match(/1\s+\S+Z\s+dev\s+job\.create\s+ok/);
    expect((await json("audit", "list")).data).to.have.nested.property("events[0].actor", "dev");
    const intact = await json("audit", "verify");
    expect(intact.code).to.equal(0);
    expect(intact.data).to.include({ intact: true, rows: 1, brokenId: 0 });
    const broken = await json("audit", "verify", "--expect", "b".repeat(64));
    expect(broken.code).to.equal(1);
    expect(broken.data).to.include({ intact: false, brokenId: 2, detail: "row 2 does not fit" });
    const { out } = await bed.cli(["audit", "verify", "--expect", "b".repeat(64)]);
    expect(out).to.equal("broken at row 2: row 2 does not fit\n");
    expect((await bed.cli(["audit", "verify"])).out).to.match(/^intact: 1 rows, head a{64}\n$/);
  });

  it("console: a link that opens once", async () => {
    const { out } = await bed.cli(["console"]);
    expect(out).to.equal(`${bed.url}/#link=link-1\n`);
    const { data } = await json("console", "--console-url", "http://localhost:3000/");
    expect(data).to.include({ url: "http://localhost:3000/#link=link-2" });
  });

  it("doctor: 0 with warnings, 1 with a broken part, each with its remedy", async () => {
    const well = await bed.cli(["doctor"]);
    expect(well.code).to.equal(0);
    expect(well.out).to.include("runner fake: process by process");
    expect(well.out).to.match(/container by docker: no engine answers\n\s+remedy: start dockerd/);
    bed.fake.parts = [{ name: "inference", ok: false, detail: "no provider" }];
    const { code, data } = await json("doctor");
    expect(code).to.equal(1);
    const checks = data.checks as Record<string, unknown>[];
    const part = checks.find(({ check }) => check === "part inference");
    expect(part).to.include({ state: "broken", detail: "no provider" });
    const unknown = await bed.cli(["doctor", "--token", "wrong"]);
    expect(unknown.code).to.equal(1);
    expect(unknown.out).to.match(/broken token: .*UNAUTHENTICATED/);
    const nobody = await bed.cli(["doctor", "--url", "http://127.0.0.1:1"]);
    expect(nobody.code).to.equal(1);
    expect(nobody.out).to.include("broken url");
  });

  for (const [reason, code] of [
    ["UNAUTHENTICATED", 3],
    ["SCOPE_MISSING", 3],
    ["NOT_FOUND", 4],
    ["WRONG_STATE", 5],
    ["RATE_LIMITED", 6],
    ["BUDGET_EXCEEDED", 6],
    ["DRAINING", 7],
    ["DEADLINE_EXCEEDED", 124],
    ["INVALID_FIELD", 2],
    ["TOO_LARGE", 2],
    ["INTERNAL", 1],
  ] as const) {
    it(`answers ${code} for ${reason}`, async () => {
      for (let i = 0; i < 3; i++) {
        bed.fake.faults.failNext("ListAgents", new DevmeshError(reason, "as told"));
        bed.fake.faults.failNext("ListModels", new DevmeshError(reason, "as told"));
      }
      const result = await bed.cli(["models", "--json"]);
      expect(result.code).to.equal(code);
      expect(result.out).to.equal("");
      const [report] = jsonLines(result.err);
      expect(report).to.have.nested.property("error.reason", reason);
      expect(report).to.have.nested.property("error.exitCode", code);
      expect(report).to.have.nested.property("error.requestId").that.matches(/^req-/);
    });
  }
});
