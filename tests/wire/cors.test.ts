import { expect } from "chai";
import { type Bed, startBed } from "./wire-bed.ts";

const home = "https://console.example";

/** What a browser asks before it calls. */
function preflight(bed: Bed, origin: string): Promise<Response> {
  const headers = {
    origin,
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type, authorization, idempotency-key",
  };
  return fetch(`${bed.url}/v1/llm/infer`, { method: "OPTIONS", headers });
}

describe("cross-origin calls", () => {
  let bed: Bed;
  let open: Bed;
  let closed: Bed;
  before(async () => {
    bed = await startBed("connect", { corsOrigins: [home] });
    open = await startBed("connect", { corsOrigins: ["*"] });
    closed = await startBed("connect");
  });
  after(() => Promise.all([bed.end(), open.end(), closed.end()]));

  it("lets an allowed origin ask first, and says what it may send", async () => {
    const res = await preflight(bed, home);
    expect(res.status).to.equal(204);
    expect(res.headers.get("access-control-allow-origin")).to.equal(home);
    expect(res.headers.get("vary")).to.equal("origin");
    const methods = res.headers.get("access-control-allow-methods");
    expect(methods).to.equal("GET, POST, PUT, PATCH, DELETE");
    const allowed = res.headers.get("access-control-allow-headers")?.toLowerCase().split(", ");
    expect(allowed).to.include.members([
      "authorization",
      "content-type",
      "connect-protocol-version",
      "connect-timeout-ms",
      "x-grpc-web",
      "grpc-timeout",
      "idempotency-key",
      "last-event-id",
      "x-request-id",
      "traceparent",
    ]);
  });

  for (const origin of ["https://evil.example", `${home}.evil.example`, "null", `${home}:8080`]) {
    it(`gives the origin ${origin} no leave`, async () => {
      const asked = await preflight(bed, origin);
      const called = await fetch(`${bed.url}/v1/host`, { headers: { origin } });
      for (const res of [asked, called]) {
        expect(res.headers.get("access-control-allow-origin")).to.equal(null);
        expect(res.headers.get("access-control-allow-methods")).to.equal(null);
        expect(res.headers.get("vary")).to.equal("origin");
      }
    });
  }

  it("names the origin where every origin is allowed, and never allows credentials", async () => {
    const origin = "https://anywhere.example";
    const asked = await preflight(open, origin);
    const called = await fetch(`${open.url}/v1/host`, { headers: { origin } });
    for (const res of [asked, called]) {
      expect(res.headers.get("access-control-allow-origin")).to.equal(origin);
      expect(res.headers.get("access-control-allow-credentials")).to.equal(null);
    }
  });

  it("allows nobody where no origin is configured", async () => {
    const res = await preflight(closed, home);
    expect(res.headers.get("access-control-allow-origin")).to.equal(null);
  });

  it("lets scripts read gRPC-Web's status, the request's id and the wait, also of refusals", async () => {
    for (const path of ["/v1/host", "/v1/nowhere"]) {
      const res = await fetch(`${bed.url}${path}`, { headers: { origin: home } });
      const exposed = res.headers.get("access-control-expose-headers")?.toLowerCase().split(", ");
      expect(exposed).to.include.members([
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
        "x-request-id",
        "retry-after",
      ]);
      expect(res.headers.get("access-control-allow-origin")).to.equal(home);
    }
  });
});
