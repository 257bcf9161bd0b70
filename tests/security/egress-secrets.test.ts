/** Secrets that the proxy puts into requests: where they go, where not, and that the sandbox never has them. */
import { randomBytes } from "node:crypto";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import fc from "fast-check";
import { readVmConfig } from "../../services/vm/config.ts";
import { readSecretsFile } from "../../services/vm/egress/egress-secrets.ts";
import { SecretVeil } from "../../services/vm/egress/secret-veil.ts";
import { askTls, EgressBed, type TestHost } from "../vm/egress/bed.ts";

describe("secrets of the egress proxy", () => {
  let bed: EgressBed;
  let host: TestHost;
  let value: string;
  let secretsFile: string;
  beforeEach(async () => {
    bed = await EgressBed.open();
    host = await bed.tlsHost("api.example");
    value = `canary${randomBytes(16).toString("hex")}`;
    secretsFile = join(bed.folder, "secrets.json");
    await write({ KEY: { value, hosts: ["api.example"] } });
  });
  afterEach(() => bed.close());

  const write = async (content: unknown, mode = 0o600) => {
    const text = typeof content === "string" ? content : JSON.stringify(content);
    await writeFile(secretsFile, text);
    await chmod(secretsFile, mode);
  };
  const secrets = [{ header: "Authorization", secret: "KEY", prefix: "Bearer " }];
  const open = (more: object = {}) =>
    bed.proxy(
      { allow: [{ host: "api.example", port: host.port, secrets, ...more }] },
      { secretsFile },
    );
  const ca = async (egress: Awaited<ReturnType<typeof open>>) => {
    const { readFile } = await import("node:fs/promises");
    return Promise.all(egress.mounts.map(({ hostPath }) => readFile(hostPath, "utf8")));
  };
  const url = (path: string) => `https://api.example:${host.port}${path}`;

  it("stand in the request that gets out, whatever the sandbox sent in their place", async () => {
    const egress = await open();
    const headers = { AUTHORIZATION: "Bearer mine", "x-other": "kept" };
    expect(await askTls(egress, await ca(egress), url("/"), { headers })).to.include({
      status: 200,
    });
    expect(host.seen[0]?.headers).to.include({
      authorization: `Bearer ${value}`,
      "x-other": "kept",
    });
  });

  it("go only with what their rule allows", async () => {
    await write({ KEY: { value, hosts: ["api.example", "other.example"] } });
    const other = await bed.tlsHost("other.example");
    const egress = await bed.proxy(
      {
        allow: [
          { host: "api.example", port: host.port, paths: ["/with/"], methods: ["GET"], secrets },
          { host: "api.example", port: host.port, paths: ["/without/"] },
          { host: "other.example", port: other.port, methods: ["GET"] },
        ],
      },
      { secretsFile },
    );
    const trusted = await ca(egress);
    await askTls(egress, trusted, url("/with/a"));
    await askTls(egress, trusted, url("/without/a"));
    await askTls(egress, trusted, `https://other.example:${other.port}/with/`);
    expect(await askTls(egress, trusted, url("/elsewhere"))).to.include({ status: 403 });
    const got = host.seen.map(({ url: path, headers }) => `${path} ${headers.authorization}`);
    expect(got).to.deep.equal([`/with/a Bearer ${value}`, "/without/a undefined"]);
    expect(other.seen[0]?.headers.authorization).to.equal(undefined);
  });

  it("do not come back in an answer that echoes them, in whichever piece", async () => {
    host.onRequest = (req, res) => {
      const { authorization = "", "accept-encoding": coding = "" } = req.headers;
      res.statusMessage = `OK ${authorization}`;
      res.setHeader("x-echo", authorization);
      res.setHeader("set-cookie", [`a=${authorization}`, "b=2"]);
      const text = `coding ${coding}; got ${authorization}, twice ${authorization}.`;
      res.setHeader("content-length", Buffer.byteLength(text));
      for (const piece of text.match(/.{1,7}/g) ?? []) res.write(piece);
      res.end();
    };
    const egress = await open();
    const headers = { "accept-encoding": "gzip" };
    const got = await askTls(egress, await ca(egress), url("/echo"), { headers });
    expect(JSON.stringify(got)).to.not.contain(value);
    expect(got.body).to.contain(`got Bearer ${"*".repeat(value.length)}, twice Bearer *`);
    expect(got.body).to.contain("coding identity");
    expect(got.headers["x-echo"]).to.equal("Bearer [redacted]");
    expect(got.headers["set-cookie"]).to.deep.equal(["a=Bearer [redacted]", "b=2"]);
  });

  it("are in no variable, no file, no note and no report that the job or its audit gets", async () => {
    const egress = await open();
    const trusted = await ca(egress);
    await askTls(egress, trusted, url(`/path/${value}`));
    await askTls(egress, trusted, url("/x"), { method: "TRACE" });
    await bed.decided(egress);
    const all = JSON.stringify([egress.env, egress.mounts, trusted, bed.notes]);
    expect(all).to.not.contain(value);
    // The sandbox itself named that path: it did not learn it here.
    const reported = bed.decisions.filter(({ path }) => !path?.startsWith("/path/"));
    expect(JSON.stringify(reported)).to.not.contain(value);
  });

  it("are asked for anew for each job, so that a new value needs no restart", async () => {
    await open();
    await write({ KEY: { value: "another value", hosts: ["*.example"] } });
    const egress = await open();
    await askTls(egress, await ca(egress), url("/"));
    expect(host.seen[0]?.headers.authorization).to.equal("Bearer another value");
  });

  const refusals: readonly (readonly [string, unknown])[] = [
    ["a host that the secret is not for", { KEY: { value: "long enough", hosts: ["b.example"] } }],
    ["a host below one that it is for", { KEY: { value: "long enough", hosts: ["example"] } }],
    ["a secret that is not there", { OTHER: { value: "long enough", hosts: ["api.example"] } }],
  ];
  for (const [what, file] of refusals) {
    it(`refuse ${what}`, async () => {
      await write(file);
      const error = toDevmeshError(await open().catch((failure) => failure));
      expect(error.reason).to.equal("EGRESS_REFUSED");
      expect(error.metadata).to.include({ field: "network.allow[0].secrets[0].secret" });
    });
  }

  it("refuse a pattern of hosts that is wider than theirs", async () => {
    await write({ KEY: { value: "long enough", hosts: ["api.example"] } });
    const error = toDevmeshError(await open({ host: "*.example" }).catch((failure) => failure));
    expect(error.reason).to.equal("EGRESS_REFUSED");
  });

  it("need a file that only its owner reads, and say what is wrong with it but no value", async () => {
    const cases: readonly (readonly [unknown, number, RegExp])[] = [
      [{ KEY: { value, hosts: ["a.example"] } }, 0o644, /chmod 600/],
      [{ KEY: { value, hosts: ["a.example"] } }, 0o640, /chmod 600/],
      [`{"KEY": "${value}`, 0o600, /is not a JSON object/],
      ["[]", 0o600, /is not a JSON object/],
      [{ KEY: value }, 0o600, /KEY\.value wants/],
      [{ KEY: { value: "short", hosts: ["a.example"] } }, 0o600, /shorter than 8/],
      [{ KEY: { value: `${value}\r\nx: y`, hosts: ["a.example"] } }, 0o600, /printable/],
      [{ KEY: { value, hosts: [] } }, 0o600, /KEY\.hosts wants/],
      [{ KEY: { value } }, 0o600, /KEY\.hosts wants/],
      [{ KEY: { value, hosts: ["10.0.0.1"] } }, 0o600, /KEY\.hosts wants/],
      [{ KEY: { value, hosts: ["*"] } }, 0o600, /KEY\.hosts wants/],
      [{ "a b": { value, hosts: ["a.example"] } }, 0o600, /is no name/],
    ];
    for (const [content, mode, message] of cases) {
      await write(content, mode);
      const read = () => readSecretsFile(secretsFile);
      expect(read).to.throw(message).with.property("reason", "CONFIG_INVALID");
      expect(read).to.throw().with.property("message").that.does.not.contain(value);
      // The host does not start with such a file.
      expect(() => readVmConfig({ EGRESS_SECRETS_FILE: secretsFile })).to.throw(message);
    }
    expect(() => readSecretsFile(join(bed.folder, "none"))).to.throw(/cannot be read/);
  });

  it("name what is wrong with the other settings", () => {
    expect(() => readVmConfig({ EGRESS_ALLOW_PRIVATE: "10.0.0.0/8,nonsense" })).to.throw(
      /EGRESS_ALLOW_PRIVATE: "nonsense"/,
    );
    expect(() => readVmConfig({ EGRESS_CA_FILE: "/none" })).to.throw(/EGRESS_CA_FILE: \/none/);
    expect(readVmConfig({ EGRESS_ALLOW_PRIVATE: "10.0.0.0/8" }).egress.allowPrivate).to.deep.equal([
      "10.0.0.0/8",
    ]);
  });

  it("keep an answer back that the host compressed unasked: it cannot be looked through", async () => {
    host.onRequest = (req, res) => {
      res.setHeader("content-encoding", "gzip");
      res.end(gzipSync(String(req.headers.authorization)));
    };
    const egress = await open();
    const got = await askTls(egress, await ca(egress), url("/"));
    expect(got).to.include({ status: 502, why: "UPSTREAM_FAILED" });
  });

  it("are veiled in any stream cut at any place, and nothing else is changed or held back", async () => {
    const text = fc.array(fc.constantFrom("ab", "abc", "abcabd", "b", "c", "d", "abcab"), {
      maxLength: 30,
    });
    await fc.assert(
      fc.asyncProperty(
        text,
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1 }),
        async (parts, sizes) => {
          const whole = parts.join("");
          const veil = new SecretVeil(["abcabd"]);
          const out: Buffer[] = [];
          veil.on("data", (chunk: Buffer) => out.push(chunk));
          for (let at = 0, i = 0; at < whole.length; i++) {
            const size = sizes[i % sizes.length] ?? 1;
            veil.write(Buffer.from(whole.slice(at, at + size)));
            at += size;
          }
          veil.end();
          await new Promise((resolve) => veil.once("end", resolve));
          expect(Buffer.concat(out).toString()).to.equal(whole.replaceAll("abcabd", "******"));
        },
      ),
      { numRuns: 500, seed: 7 },
    );
  });
});
