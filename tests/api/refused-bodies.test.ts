/** Who is refused while a body is still on its way hears so, and leaves nothing on the connection. */
import { request } from "node:http";
import { connect } from "node:http2";
import { expect } from "chai";
import { Bed } from "./bed.ts";

const routes = [
  { verb: "POST", path: "/v1/chat/completions", status: 401 },
  { verb: "POST", path: "/v1/responses", status: 401 },
  { verb: "PUT", path: "/v1/models", status: 405 },
  { verb: "POST", path: "/v1/jobs", status: 401 },
];

const headers = { "content-type": "application/json", authorization: "Bearer dm_wrong" };

describe("a body that is refused", function () {
  this.timeout(10_000);
  let bed: Bed;
  before(async () => {
    bed = await Bed.open();
  });
  after(() => bed.close());

  for (const { verb, path, status } of routes) {
    it(`does not cost the answer: ${verb} ${path} by HTTP/1.1`, async () => {
      const url = await bed.url();
      const answered = Promise.withResolvers<number | undefined>();
      const req = request(`${url}${path}`, { method: verb, headers }, (res) => {
        res.resume();
        answered.resolve(res.statusCode);
      });
      req.on("error", answered.reject);
      req.end(Buffer.alloc(12 << 20));
      expect(await answered.promise).to.equal(status);
    });

    it(`ends with its answer: ${verb} ${path} by HTTP/2`, async () => {
      // What this client holds back itself is no matter here.
      const session = connect(await bed.url(), { maxSessionMemory: 1_000 });
      session.on("error", () => {});
      try {
        for (let i = 0; i < 15; i++) {
          const stream = session.request({ ":method": verb, ":path": path, ...headers });
          const closed = Promise.withResolvers<void>();
          let answered: unknown;
          stream.on("response", (head) => {
            answered = head[":status"];
          });
          stream.on("error", closed.reject);
          stream.on("close", closed.resolve);
          stream.resume();
          // Never ended: the server need not wait for it.
          stream.write(Buffer.alloc(1 << 20));
          await closed.promise;
          expect(answered).to.equal(status);
        }
      } finally {
        session.destroy();
      }
    });
  }
});
