import { createLogger, type Logger, redact, silentLogger } from "@devmesh/mesh/log";
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

  it("has no key of another issuer, no private key and no credentials of a header", () => {
    const body = fc.stringMatching(/^[A-Za-z0-9]{40}$/);
    const upper = fc.stringMatching(/^[A-Z0-9]{16}$/);
    const planted = fc.oneof(
      body.map((text) => ({ text: `github_pat_11${text}`, core: text })),
      body.map((text) => ({ text: `glpat-${text}`, core: text })),
      body.map((text) => ({ text: `xoxb-${text}`, core: text })),
      body.map((text) => ({ text: `npm_${text}`, core: text })),
      body.map((text) => ({ text: `eyJhbGciOi${text}.eyJ${text}.${text}`, core: text })),
      upper.map((text) => ({ text: `AKIA${text}`, core: text })),
      body.map((text) => ({ text: `Authorization: Token ${text}`, core: text })),
      body.map((text) => ({ text: `authorization=${text}`, core: text })),
      body.map((text) => ({ text: `host=db user=me password=${text} port=5432`, core: text })),
      body.map((text) => ({ text: `PGPASSWORD='${text} ${text}'`, core: text })),
      body.map((text) => ({ text: `https://h/x?a=1&access_token=${text}&b=2`, core: text })),
      body.map((text) => ({ text: `postgres://me:${text}/${text}@db/x`, core: text })),
      fc.constantFrom("RSA ", "EC ", "OPENSSH ", "").chain((kind) =>
        body.map((text) => ({
          text: `-----BEGIN ${kind}PRIVATE KEY-----\n${text}\n${text}\n-----END ${kind}PRIVATE KEY-----`,
          core: text,
        })),
      ),
      body.map((text) => ({ text: `-----BEGIN PRIVATE KEY-----\n${text}`, core: text })),
    );
    fc.assert(
      fc.property(planted, before, ({ text, core }, left) => {
        const lines = logged((logger) => {
          logger.info(`x${left} ${text}`);
          logger.warn({ detail: text, nested: [{ err: new Error(text) }] });
          logger.error({ err: new Error("outer", { cause: new Error(text) }) }, "failed");
        });
        expect(lines).to.not.include(core);
        expect(redact(text)).to.not.include(core);
      }),
    );
  });

  it("has nothing that stands under the name of a key", () => {
    const names = [
      "PRIVATE_KEY",
      "sshKey",
      "CLOUD_API_KEYS",
      "aws_secret_access_key",
      "passphrase",
    ];
    for (const name of names) {
      const lines = logged((logger) => logger.info({ env: [{ [name]: "hunter2" }] }));
      expect(lines, name).to.include("[redacted]");
      expect(lines, name).to.not.include("hunter2");
    }
  });

  it("says what an error is that stands deep in what is logged", () => {
    const deep = new TypeError("the disk is full");
    const line = logged((logger) => logger.warn({ attempts: [{ why: { error: deep } }] }));
    expect(line).to.include("the disk is full").and.to.include("TypeError");
  });

  it("keeps what a reader needs", () => {
    for (const text of [
      "tokens=12 of 4096",
      "no token: send `Authorization: Bearer …` with a token",
      "http://127.0.0.1:8080/v1/jobs?from=3",
      "the key of the job",
      "password: must be set",
      "monkey=banana",
    ]) {
      expect(redact(text)).to.equal(text);
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
