import { createLogger, redact } from "@devmesh/mesh/log";
import { expect } from "chai";
import fc from "fast-check";

/** The lines that a logger wrote. */
function logged(write: (logger: ReturnType<typeof createLogger>) => void): string {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  write(createLogger({ service: "test", level: "trace", destination }));
  return lines.join("");
}

const safe = fc.stringMatching(/^[A-Za-z0-9_-]{20,40}$/);
const planted = fc.oneof(
  safe.map((text) => `dm_${text}`),
  safe.map((text) => `sk-${text}`),
  safe.map((text) => `Bearer ${text}`),
);
const secretName = fc.constantFrom(
  "authorization",
  "Authorization",
  "cookie",
  "password",
  "jobToken",
  "apiKey",
  "api_key",
  "client_secret",
);

describe("logger", () => {
  it("writes fixed keys", () => {
    const line: unknown = JSON.parse(logged((logger) => logger.info({ jobId: "job_1" }, "done")));
    expect(line).to.include({ level: "info", service: "test", msg: "done", jobId: "job_1" });
    expect(line)
      .to.have.property("ts")
      .that.matches(/^\d{4}-\d\d-\d\dT/);
  });

  it("never shows a planted secret, wherever it stands", () => {
    fc.assert(
      fc.property(planted, (secret) => {
        const text = logged((logger) => {
          const error = new Error(`refused ${secret}`, { cause: new Error(`from ${secret}`) });
          logger.error({ err: error }, `call with ${secret} failed`);
          logger.info({ a: { b: [{ c: `x ${secret} y` }] } });
          logger.child({ note: secret }).warn(error);
        });
        expect(text).to.not.include(secret);
      }),
    );
  });

  it("never shows what stands under a secret's name, at any depth", () => {
    const depth = fc.integer({ min: 0, max: 8 });
    fc.assert(
      fc.property(secretName, safe, depth, (name, value, levels) => {
        let facts: object = { [name]: value };
        for (let i = 0; i < levels; i++) facts = i % 2 === 0 ? { inner: facts } : { list: [facts] };
        const error = Object.assign(new Error("x"), { config: { headers: { [name]: value } } });
        const text = logged((logger) => {
          logger.info(facts);
          logger.info({ err: error });
          logger.child({ [name]: value }).info("child");
        });
        expect(text).to.not.include(value);
      }),
    );
  });

  it("keeps counts of tokens and other numbers", () => {
    const text = logged((logger) => logger.info({ tokens: 12, maxToken: 3 }));
    expect(JSON.parse(text)).to.include({ tokens: 12, maxToken: 3 });
  });

  it("survives a structure that holds itself", () => {
    const ring: Record<string, unknown> = {};
    ring.self = ring;
    expect(logged((logger) => logger.info({ ring }))).to.include('"level":"info"');
  });

  it("cuts credentials out of URLs", () => {
    expect(redact("at postgres://user:hunter2@host/db")).to.equal(
      "at postgres://[redacted]@host/db",
    );
  });
});
