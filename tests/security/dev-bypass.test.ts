/** The dev bypass answers this machine's own programs and pages, and nobody else. */
import { networkInterfaces } from "node:os";
import { expect } from "chai";
import { missing } from "../../scripts/parts/part.ts";
import { startUp, type Up } from "../e2e/up.ts";
import { need } from "../parts/need.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { refusedSocket } from "../wire/socket-refusal.ts";
import { ask1, ask2 } from "./http-call.ts";

describe("the dev bypass", function () {
  this.timeout(60_000);
  let folder: TempFolder | undefined;
  let up: Up;
  let port: string;

  before(async () => {
    folder = tempFolder();
    const env = { API_HOST: "0.0.0.0", SANDBOX_DRIVERS: "process" };
    up = await startUp({ dataDir: folder.path, dev: true, env });
    port = new URL(up.url).port;
  });
  after(async () => {
    await up?.stop();
    folder?.[Symbol.dispose]();
  });

  const jobs = () => `${up.url}/v1/jobs`;

  it("answers a program of this machine without a token", async () => {
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, "localhost", `[::1]:${port}`]) {
      expect((await ask1(jobs(), { host })).status, host).to.equal(200);
    }
    expect((await ask2(jobs(), {})).status).to.equal(200);
  });

  it("answers pages of its own and of allowed origins", async () => {
    for (const origin of [`http://127.0.0.1:${port}`, "http://localhost:3000"]) {
      expect((await ask1(jobs(), { origin })).status, origin).to.equal(200);
    }
  });

  for (const host of [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.0.0.1.nip.io",
    "localhost@evil.example",
    "0.0.0.0",
    "127.0.0.2",
    "192.0.2.1",
    "localhost:80:80",
    "",
  ]) {
    it(`refuses the host ${JSON.stringify(host)}, to which a name may have been rebound`, async () => {
      const { status, reason, text } = await ask1(jobs(), { host });
      expect(status, text).to.be.oneOf([400, 403]);
      if (status === 403) expect(reason).to.equal("ORIGIN_REFUSED");
      if (host === "") return;
      const second = await ask2(jobs(), { ":authority": host });
      expect(second.status, second.text).to.be.oneOf([400, 403]);
    });
  }

  for (const origin of [
    "http://evil.example",
    "null",
    "https://localhost:3000",
    "http://localhost:3001",
    "http://localhost:3000.evil.example",
    "file://",
  ]) {
    it(`refuses a page of ${origin}`, async () => {
      expect(await ask1(jobs(), { origin })).to.include({ status: 403, reason: "ORIGIN_REFUSED" });
    });
  }

  it("refuses a page of its own name under a foreign host", async () => {
    const headers = { host: "evil.example", origin: "http://evil.example" };
    expect((await ask1(jobs(), headers)).status).to.equal(403);
  });

  for (const header of [
    "x-forwarded-for",
    "forwarded",
    "via",
    "x-real-ip",
    "X-Forwarded-Host",
    "x-forwarded-anything",
    "true-client-ip",
  ]) {
    it(`asks whoever comes through a proxy (${header}) for a token`, async () => {
      for (const value of ["127.0.0.1", "for=127.0.0.1"]) {
        expect((await ask1(jobs(), { [header]: value })).status).to.equal(401);
      }
    });
  }

  it("asks whoever comes from another address for a token, whatever host is named", async function () {
    const address = need(this, otherAddress());
    for (const host of [`${address}:${port}`, `localhost:${port}`]) {
      const answer = await ask1(`http://${address}:${port}/v1/jobs`, { host });
      expect(answer, host).to.include({ status: 401, reason: "UNAUTHENTICATED" });
    }
    const authorization = `Bearer ${up.token}`;
    const known = await ask1(`http://${address}:${port}/v1/jobs`, { authorization });
    expect(known.status).to.equal(200);
  });

  it("refuses a wrong token, though none is needed", async () => {
    expect((await ask1(jobs(), { authorization: "Bearer dm_wrong" })).status).to.equal(401);
  });

  it("refuses a foreign page's WebSocket", async () => {
    const at = `${up.url.replace("http", "ws")}/v1/stream/job_x`;
    for (const [headers, reason] of [
      [{ origin: "http://evil.example" }, "ORIGIN_REFUSED"],
      [{ host: "evil.example" }, "ORIGIN_REFUSED"],
      [{ "x-forwarded-for": "127.0.0.1" }, "UNAUTHENTICATED"],
      [{ origin: "http://localhost:3000" }, "NOT_FOUND"],
    ] as const) {
      expect((await refusedSocket(at, headers)).problem.reason).to.equal(reason);
    }
  });

  it("lets no foreign page read an answer", async () => {
    for (const origin of ["http://evil.example", "http://localhost:3000"]) {
      const res = await fetch(`${up.url}/livez`, { headers: { origin } });
      const allowed = res.headers.get("access-control-allow-origin");
      expect(allowed).to.equal(origin === "http://localhost:3000" ? origin : null);
    }
  });
});

function otherAddress() {
  const found = Object.values(networkInterfaces())
    .flat()
    .find((row) => row !== undefined && !row.internal && row.family === "IPv4");
  return found === undefined
    ? missing("this machine has no address but loopback", "give it a network")
    : { ok: true as const, value: found.address };
}
