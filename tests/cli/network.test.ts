/** What `run` and `agent` let a job reach. */
import { expect } from "chai";
import { tempFolder } from "../sdk/temp-folder.ts";
import { type CliBed, openBed } from "./bed.ts";

describe("devmesh run with a network", function () {
  this.timeout(60_000);
  let bed: CliBed;
  before(async () => {
    bed = await openBed();
  });
  after(() => bed.close());

  async function allowed(...options: string[]) {
    const { out, err } = await bed.cli(["run", "--detach", ...options, "--", "echo"]);
    expect(out, err).to.match(/^job_/);
    const { spec } = bed.fake.jobs.entry(out.trim()).job;
    return spec?.network?.allow.map(({ $typeName: _name, ...rule }) => rule);
  }

  const plain = { methods: [], paths: [], secrets: [], plainHttp: false };

  it("has none unless it is said", async () => {
    expect(await allowed()).to.equal(undefined);
  });

  it("takes hosts, with their ports", async () => {
    const hosts = [
      "--allow-net",
      "PyPI.org",
      "--allow-net=*.example.com:8443",
      "--allow-net",
      "a.b:80",
    ];
    expect(await allowed(...hosts)).to.deep.equal([
      { ...plain, host: "pypi.org", port: 0 },
      { ...plain, host: "*.example.com", port: 8443 },
      { ...plain, host: "a.b", port: 80, plainHttp: true },
    ]);
  });

  it("takes a policy from a file, and hosts besides", async () => {
    const secrets = [{ header: "authorization", secret: "KEY", prefix: "Bearer " }];
    const rule = { host: "api.example", methods: ["GET"], paths: ["/v1/"], secrets };
    using folder = tempFolder({ "net.json": JSON.stringify({ allow: [rule] }) });
    const rules = await allowed("--network", `${folder.path}/net.json`, "--allow-net", "b.example");
    expect(rules).to.have.length(2);
    expect(rules?.[0]).to.deep.include({ host: "api.example", methods: ["GET"], paths: ["/v1/"] });
    expect(rules?.[0]?.secrets[0]).to.include({ secret: "KEY", prefix: "Bearer " });
    expect(rules?.[1]).to.include({ host: "b.example" });
  });

  it("says what is wrong with an option or a file", async () => {
    using folder = tempFolder({ "bad.json": "{", "odd.json": '{"allow": [{"hosts": 1}]}' });
    for (const [options, message] of [
      [["--allow-net", "https://a.example/"], /--allow-net: .* is not HOST\[:PORT\]/],
      [["--allow-net", "a.example:0"], /--allow-net/],
      [["--allow-net", "a.example:70000"], /--allow-net/],
      [["--allow-net", "x@a.example"], /--allow-net/],
      [["--allow-net", "169.254.169.254"], /--allow-net: 169\.254\.169\.254 is an address, /],
      [["--allow-net", "127.1:80"], /--allow-net: 127\.1 is no host's name, /],
      [["--network", `${folder.path}/none.json`], /none\.json cannot be read/],
      [["--network", `${folder.path}/bad.json`], /bad\.json is not JSON/],
      [["--network", `${folder.path}/odd.json`], /is no network policy: .*hosts/],
    ] as const) {
      const { code, err } = await bed.cli(["run", ...options, "--", "echo"]);
      expect(code, err).to.equal(2);
      expect(err).to.match(message);
    }
  });
});
