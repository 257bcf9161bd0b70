import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Env, EnvReader, readServing } from "@devmesh/mesh/config";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";

/** The message of CONFIG_INVALID. */
function mistakesOf(read: () => void): string {
  try {
    read();
  } catch (error) {
    expect(error).to.be.instanceOf(DevmeshError).and.include({ reason: "CONFIG_INVALID" });
    return (error as DevmeshError).message;
  }
  throw new Error("the configuration was taken");
}

describe("EnvReader", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "config-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function file(name: string, text: string): string {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  }

  it("reports all mistakes at once", () => {
    const text = mistakesOf(() => {
      const reader = new EnvReader({
        PORT: "70000",
        COUNT: "1.5",
        FLAG: "yes",
        MODE: "fast",
        URL: "ftp://host",
        SECRET_FILE: join(folder, "missing"),
      });
      reader.port("PORT", 1);
      reader.integer("COUNT", 1, { min: 0, max: 9 });
      reader.boolean("FLAG", false);
      reader.oneOf("MODE", ["slow", "slower"], "slow");
      reader.url("URL", ["http", "https"], undefined);
      reader.secret("SECRET");
      reader.mistake("only the service can see this");
      reader.finish();
    });
    for (const part of [
      "PORT",
      "COUNT",
      "FLAG",
      "MODE",
      "URL",
      "SECRET_FILE",
      "only the service",
    ]) {
      expect(text).to.include(part);
    }
  });

  it("prefers the environment to the file and both to the default", () => {
    const path = file("config.json", JSON.stringify({ A: "file", B: "file", N: 3, L: ["x", "y"] }));
    const reader = new EnvReader({ DEVMESH_CONFIG: path, A: "env", B: "" });
    expect(reader.string("A", "default")).to.equal("env");
    expect(reader.string("B", "default")).to.equal("default");
    expect(reader.string("C", "default")).to.equal("default");
    expect(reader.integer("N", 1, { min: 0, max: 9 })).to.equal(3);
    expect(reader.list("L", [])).to.deep.equal(["x", "y"]);
    expect(reader.list("M", ["m"])).to.deep.equal(["m"]);
    reader.finish();
  });

  it("reads a secret from the file that NAME_FILE names, never an empty one", () => {
    const secret = (env: Env) => {
      const reader = new EnvReader(env);
      const value = reader.secret("TOKEN");
      reader.finish();
      return value;
    };
    expect(secret({ TOKEN_FILE: file("token", " s3cret\n") })).to.equal("s3cret");
    expect(secret({ TOKEN: "direct", TOKEN_FILE: file("other", "x") })).to.equal("direct");
    expect(secret({})).to.equal(undefined);
    expect(mistakesOf(() => secret({ TOKEN_FILE: file("empty", "\n") }))).to.include("is empty");
    const url = (env: Env) => new EnvReader(env).url("STORAGE_URL", ["postgres"], "none");
    expect(url({ STORAGE_URL_FILE: file("url", "postgres://u:p@h/d\n") })).to.equal(
      "postgres://u:p@h/d",
    );
  });

  it("says what is wrong with a config file", () => {
    for (const text of ["{", "[]", '"text"', '{"A": {"b": 1}}']) {
      const path = file("config.json", text);
      const shown = mistakesOf(() => new EnvReader({ DEVMESH_CONFIG: path }).finish());
      expect(shown, text).to.include("DEVMESH_CONFIG");
    }
    const missing = join(folder, "missing.json");
    expect(mistakesOf(() => new EnvReader({ DEVMESH_CONFIG: missing }).finish())).to.include(
      missing,
    );
  });

  it("never shows a password of a broken URL", () => {
    const urls = [
      "mysql://user:hunter2@host/db",
      "mysql://user:hunter2/x@host/db",
      "mysql://user:p@hunter2@host/db",
      "user:hunter2@host",
      "mysql://host/db?password=hunter2",
    ];
    for (const url of urls) {
      const text = mistakesOf(() => {
        const reader = new EnvReader({ STORAGE_URL: url });
        reader.url("STORAGE_URL", ["postgres"], undefined);
        reader.finish();
      });
      expect(text).to.include("host").and.not.include("hunter2");
    }
  });
});

describe("readServing", () => {
  it("has defaults and reads the service's own prefix", () => {
    expect(readServing(new EnvReader({ VM_PORT: "0" }), "VM", 7200)).to.include({
      host: "127.0.0.1",
      port: 0,
      logLevel: "info",
      serviceToken: undefined,
      requestTimeoutMs: 120_000,
    });
  });
});
