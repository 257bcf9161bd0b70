import { EnvReader } from "@devmesh/mesh/config";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import fc from "fast-check";

/** A value read from one variable `X`, or the mistakes. */
function read<T>(x: string | undefined, get: (reader: EnvReader) => T): T | DevmeshError {
  const reader = new EnvReader({ X: x });
  const value = get(reader);
  try {
    reader.finish();
  } catch (error) {
    return error as DevmeshError;
  }
  return value;
}

function mistakeOf<T>(x: string, get: (reader: EnvReader) => T): string {
  const error = read(x, get);
  expect(error, JSON.stringify(x)).to.be.instanceOf(DevmeshError);
  expect(error).to.include({ reason: "CONFIG_INVALID" });
  return (error as DevmeshError).message;
}

const integer = (reader: EnvReader) => reader.integer("X", 7, { min: -5, max: 50 });

describe("EnvReader: each getter", () => {
  it("takes a whole number exactly when it is within its bounds", () => {
    const small = fc.integer({ min: -100, max: 100 });
    fc.assert(
      fc.property(small, small, fc.nat(50), (value, min, span) => {
        const bounds = { min, max: min + span };
        const got = read(String(value), (reader) => reader.integer("X", min, bounds));
        if (value >= bounds.min && value <= bounds.max) expect(got).to.equal(value);
        else expect(got).to.be.instanceOf(DevmeshError);
      }),
    );
  });

  it("takes the bounds themselves", () => {
    for (const bound of [-5, 50]) expect(read(String(bound), integer)).to.equal(bound);
    for (const bound of [-6, 51]) expect(mistakeOf(String(bound), integer)).to.include("-5 to 50");
  });

  it("refuses what only looks like a whole number", () => {
    for (const text of ["1e1", "0x10", "1.0", "+1", " 1", "1_0", "1,0", "NaN", "Infinity", "-"]) {
      expect(mistakeOf(text, integer)).to.include(JSON.stringify(text));
    }
  });

  it("takes every port there is", () => {
    for (const port of [0, 1, 65_535]) {
      expect(read(String(port), (reader) => reader.port("X", 80))).to.equal(port);
    }
    for (const port of ["-1", "65536"]) mistakeOf(port, (reader) => reader.port("X", 80));
  });

  it("knows two words for a flag", () => {
    expect(read("true", (reader) => reader.boolean("X", false))).to.equal(true);
    expect(read("false", (reader) => reader.boolean("X", true))).to.equal(false);
    for (const word of ["TRUE", "1", "yes", "on"]) {
      expect(mistakeOf(word, (reader) => reader.boolean("X", true))).to.include("true or false");
    }
  });

  it("lists the words it would have taken", () => {
    const mode = (reader: EnvReader) => reader.oneOf("X", ["fast", "safe"], "safe");
    expect(read("fast", mode)).to.equal("fast");
    expect(mistakeOf("Fast", mode)).to.include("one of fast, safe");
  });

  it("takes a URL of its schemes as it is", () => {
    const url = (reader: EnvReader) => reader.url("X", ["http", "https"], undefined);
    expect(read("https://host:8443/path?q=1", url)).to.equal("https://host:8443/path?q=1");
    for (const text of ["host:80", "ftp://host", "//host", "http//host"]) {
      expect(mistakeOf(text, url)).to.include("http or https");
    }
  });

  it("cuts white space around a list's items and leaves empty ones out", () => {
    expect(read(" a, b ,,c ,", (reader) => reader.list("X", []))).to.deep.equal(["a", "b", "c"]);
  });

  it("falls back where a value is missing or empty, and calls neither a mistake", () => {
    for (const x of [undefined, ""]) {
      expect(read(x, (reader) => reader.string("X", "fallback"))).to.equal("fallback");
      expect(read(x, (reader) => reader.optional("X"))).to.equal(undefined);
      expect(read(x, (reader) => reader.secret("X"))).to.equal(undefined);
      expect(read(x, integer)).to.equal(7);
      expect(read(x, (reader) => reader.port("X", 80))).to.equal(80);
      expect(read(x, (reader) => reader.boolean("X", true))).to.equal(true);
      expect(read(x, (reader) => reader.oneOf("X", ["a", "b"], "b"))).to.equal("b");
      expect(read(x, (reader) => reader.url("X", ["http"], "http://a"))).to.equal("http://a");
      expect(read(x, (reader) => reader.list("X", ["l"]))).to.deep.equal(["l"]);
    }
  });
});

describe("EnvReader: mistakes", () => {
  it("counts them for programs, each on a line of its own", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), (count) => {
        const reader = new EnvReader({});
        for (let i = 0; i < count; i++) reader.mistake(`mistake ${i}`);
        const error = (() => {
          try {
            reader.finish();
          } catch (thrown) {
            return thrown as DevmeshError;
          }
          return expect.fail("no mistake was told");
        })();
        expect(error.metadata).to.deep.equal({ mistakes: String(count) });
        expect(error.message.split("\n")).to.have.length(count + 1);
      }),
    );
  });

  it("never show a connection string that is no URL, or a secret in a wrong place", () => {
    const texts: string[] = [];
    const hold = (value: string, ask: (reader: EnvReader) => unknown) => {
      const reader = new EnvReader({ X: value });
      ask(reader);
      try {
        reader.finish();
      } catch (error) {
        texts.push(String(error));
      }
    };
    for (const value of ["host=db user=me password=hunter2", "me:hunter2@db", "hunter2"]) {
      hold(value, (reader) => reader.url("X", ["postgres"], undefined));
    }
    hold("sk-ant-hunter2hunter2", (reader) => reader.port("X", 1));
    hold("password=hunter2", (reader) => reader.boolean("X", true));
    expect(texts).to.have.length(5);
    for (const text of texts) expect(text).to.include("X: wants").and.to.not.include("hunter2");
  });

  it("never show any part of a password of a URL, whatever stands in it", () => {
    const piece = fc.constantFrom("hunter", "secret", "?", "@", ":", "#", "%", "&", "=", "p@ss");
    const password = fc.array(piece, { minLength: 1, maxLength: 6 }).map((list) => list.join(""));
    fc.assert(
      fc.property(password, (text) => {
        const url = `mysql://owner:${text}@host/db`;
        const shown = mistakeOf(url, (reader) => reader.url("X", ["postgres"], undefined));
        expect(shown).to.not.match(/hunter|secret|p@ss/);
      }),
    );
  });
});
