import type { Problem } from "@devmesh/mesh/errors";
import { expect } from "chai";
import {
  type Answer,
  fetchSender,
  http2Sender,
  type Sender,
  textOfAnswer,
} from "./http-senders.ts";
import { readEvents } from "./sse-reader.ts";
import { gather } from "./waiting.ts";
import { type Bed, startBed } from "./wire-bed.ts";

describe("server-sent events", () => {
  let bed: Bed;
  let senders: Sender[];
  before(async () => {
    bed = await startBed("connect");
    senders = [fetchSender(bed.url), http2Sender(bed.url)];
  });
  after(async () => {
    for (const sender of senders) sender.close();
    await bed.end();
  });

  function watch(sender: Sender, id: string, headers: Record<string, string> = {}, query = "") {
    const path = `/v1/jobs/${id}/events${query}`;
    return sender.send({
      method: "GET",
      path,
      headers: { accept: "text/event-stream", ...headers },
    });
  }

  const idsOf = async (answer: Answer) =>
    (await gather(readEvents(answer.chunks))).map(({ id }) => id);

  it("gives each event its number as id, in an answer that no proxy holds back", async () => {
    for (const sender of senders) {
      const answer = await watch(sender, "three");
      expect(answer.status).to.equal(200);
      expect(answer.header("content-type")).to.equal("text/event-stream; charset=utf-8");
      expect(answer.header("cache-control")).to.contain("no-transform");
      expect(await idsOf(answer)).to.deep.equal(["1", "2", "3"]);
    }
  });

  it("goes on behind the last event that the reader saw", async () => {
    for (const sender of senders) {
      const resumed = await watch(sender, "three", { "last-event-id": "1" });
      expect(await idsOf(resumed)).to.deep.equal(["2", "3"]);
      const asked = await watch(sender, "three", {}, "?from=3");
      expect(await idsOf(asked)).to.deep.equal(["3"]);
      const both = await watch(sender, "three", { "last-event-id": "2" }, "?from=1");
      expect(await idsOf(both)).to.deep.equal(["3"]);
    }
  });

  for (const id of ["x", "-1", "1.5", "99999999999999999999"]) {
    it(`refuses the last event ${id} before the stream starts`, async () => {
      for (const sender of senders) {
        const answer = await watch(sender, "three", { "last-event-id": id });
        expect(answer.status).to.equal(400);
        const problem = JSON.parse(await textOfAnswer(answer)) as Problem;
        expect(problem.reason).to.equal("INVALID_FIELD");
      }
    });
  }

  it("passes signs of life on, without an id", async () => {
    for (const sender of senders) {
      const events = await gather(readEvents((await watch(sender, "keepalive")).chunks));
      expect(events.map(({ id }) => id)).to.deep.equal(["1", "", "2", "3"]);
      expect(JSON.parse(events[1]?.data ?? "")).to.deep.equal({ keepalive: { interval: "15s" } });
    }
  });

  it("ends a stream that fails with an event that is a problem document", async () => {
    for (const sender of senders) {
      const headers = { "x-request-id": "mine" };
      const events = await gather(readEvents((await watch(sender, "vanishes", headers)).chunks));
      expect(events.map(({ type }) => type)).to.deep.equal(["message", "message", "error"]);
      const problem = JSON.parse(events[2]?.data ?? "") as Problem;
      expect(problem).to.include({ status: 404, reason: "NOT_FOUND", requestId: "mine" });
      expect(events[2]?.id).to.equal("");
    }
  });

  it("refuses with a status and a problem document while no event is out", async () => {
    for (const sender of senders) {
      const answer = await watch(sender, "refused");
      expect(answer.status).to.equal(404);
      expect(answer.header("content-type")).to.equal("application/problem+json");
      expect(JSON.parse(await textOfAnswer(answer))).to.include({ reason: "NOT_FOUND" });
    }
  });

  it("answers HEAD of a stream with the head alone, and ends it", async () => {
    for (const sender of senders) {
      const answer = await sender.send({
        method: "HEAD",
        path: "/v1/jobs/silent-head/events",
        headers: { accept: "text/event-stream" },
      });
      expect(answer.status).to.equal(200);
      expect(answer.header("content-type")).to.contain("text/event-stream");
      expect(await textOfAnswer(answer)).to.equal("");
      await bed.fake.marks.when("silent-head ended");
    }
  });

  it("answers HEAD of a unary route with GET's head and no body", async () => {
    for (const sender of senders) {
      const head = await sender.send({ method: "HEAD", path: "/v1/host" });
      const get = await sender.send({ method: "GET", path: "/v1/host" });
      const body = await textOfAnswer(get);
      expect(head.status).to.equal(200);
      expect(head.header("content-type")).to.equal("application/json");
      expect(head.header("content-length")).to.equal(String(Buffer.byteLength(body)));
      expect(await textOfAnswer(head)).to.equal("");
    }
  });
});

describe("the request's id", () => {
  let bed: Bed;
  before(async () => {
    bed = await startBed("connect");
  });
  after(() => bed.end());

  const idFor = async (given: string, path = "/v1/host") => {
    const res = await fetch(`${bed.url}${path}`, { headers: { "x-request-id": given } });
    const problem = res.ok ? undefined : ((await res.json()) as Problem);
    return [res.headers.get("x-request-id"), problem?.requestId];
  };

  it("is the caller's where it is a decent one, also in refusals", async () => {
    expect(await idFor("mine-1.a:b_C")).to.deep.equal(["mine-1.a:b_C", undefined]);
    const refused = await fetch(`${bed.url}/v1/sandboxes/gone`, {
      method: "DELETE",
      headers: { "x-request-id": "mine-2" },
    });
    expect(refused.headers.get("x-request-id")).to.equal("mine-2");
    expect((await refused.json()) as Problem).to.include({ requestId: "mine-2" });
  });

  it("is the server's where the caller's is none", async () => {
    for (const bad of ["", "a b", "x".repeat(129), "<script>", '"quoted"']) {
      expect((await idFor(bad))[0]).to.match(/^req_\d+$/);
    }
  });

  it("is never a text that could not be one, also where no method is found", async () => {
    const [header, told] = await idFor("<script>", "/v1/nowhere");
    expect(header ?? "").to.not.contain("<");
    expect(told ?? "").to.not.contain("<");
  });
});
