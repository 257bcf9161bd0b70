import { createLogger, type Logger, silentLogger } from "@devmesh/mesh/log";
import { expect } from "chai";
import fc from "fast-check";

function logged(write: (logger: Logger) => void, level = "trace"): string {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  write(createLogger({ service: "test", level, destination }));
  return lines.join("");
}

const word = (length: number) => fc.stringMatching(new RegExp(`^[A-Za-z0-9]{${length}}$`));
/** Every form that a secret is known by. */
const secret = fc.oneof(
  word(43).map((text) => `dm_${text}`),
  word(16).map((text) => `dm_${text}`),
  word(48).map((text) => `sk-proj-${text}`),
  word(30).map((text) => `sk-ant-${text}`),
  fc.tuple(fc.constantFrom("p", "o", "u", "s", "r"), word(36)).map(([k, t]) => `gh${k}_${t}`),
  word(24).map((text) => `bearer ${text}`),
  word(24).map((text) => `Basic ${text}==`),
);
/** What may stand right before a secret in a text. */
const before = fc.constantFrom(
  "",
  " ",
  "=",
  ":",
  '"',
  "'",
  "(",
  "[",
  ",",
  "\n",
  "\t",
  "\r\n",
  "\\",
);

describe("what is logged", () => {
  it("has no secret of a known form, whatever stands around it", () => {
    fc.assert(
      fc.property(secret, before, before, (planted, left, right) => {
        const text = `x${left}${planted}${right}`.slice(left === "" ? 1 : 0);
        const lines = logged((logger) => {
          logger.info(text);
          logger.warn({ detail: text });
          logger.warn({ nested: [{ list: [text] }] });
          logger.error({ err: new Error(text, { cause: new TypeError(text) }) }, "failed");
          logger.error(new AggregateError([new Error(text)], text));
          logger.child({ url: text }).info("child");
        });
        const [, body = planted] = planted.split(/(?:dm_|sk-|gh._|(?:bearer|Basic) )/);
        expect(lines).to.not.include(body);
      }),
    );
  });

  it("has no secret that stands as a key", () => {
    fc.assert(
      fc.property(secret, (planted) => {
        expect(logged((logger) => logger.info({ [planted]: 1 }))).to.not.include(planted);
      }),
    );
  });

  it("has nothing of a URL's user and password, also with an at sign in it", () => {
    for (const password of ["hunter2", "p@hunter2", "hunter2@p", "a:hunter2", "%40hunter2"]) {
      const text = `cannot reach postgres://owner:${password}@db:5432/x, or mail a@b`;
      const line = logged((logger) => logger.info(text));
      expect(line).to.not.include("hunter2").and.not.include("owner");
      expect(line).to.include("@db:5432/x, or mail a@b");
    }
  });

  it("keeps words that only resemble one", () => {
    const words = ["task-description-long", "risk-assessment", "dm_short", "the bearer of news"];
    for (const text of words) expect(logged((logger) => logger.info(text))).to.include(text);
  });

  it("is one line of JSON for each call, whatever is logged", () => {
    fc.assert(
      fc.property(fc.anything({ withBigInt: false }), fc.string(), (value, text) => {
        const line = logged((logger) => logger.info({ value }, text));
        expect(line.endsWith("\n")).to.equal(true);
        expect(line.trimEnd()).to.not.include("\n");
        expect(JSON.parse(line)).to.include({ level: "info", service: "test" });
      }),
    );
  });

  it("names the error and its causes", () => {
    const cause = new Error("the disk is full");
    const err = new Error("cannot write", { cause });
    const line = logged((logger) => logger.error({ err, requestId: "req_1" }, "rpc"));
    const facts: unknown = JSON.parse(line);
    expect(facts).to.include({ msg: "rpc", requestId: "req_1" });
    expect(line).to.include("cannot write").and.include("the disk is full");
  });

  it("leaves out what is below the level", () => {
    const write = (logger: Logger) => {
      logger.debug("below");
      logger.warn("at");
    };
    const lines = logged(write, "warn").trimEnd().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).to.deep.equal(["at"]);
    expect(silentLogger().isLevelEnabled("fatal")).to.equal(false);
  });
});
