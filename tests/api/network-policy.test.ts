/** Network policies that contradict themselves are refused, by field, when the job is made. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import type { EgressRuleSchema } from "@devmesh/gen/devmesh/api/v1/network_policy_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { Bed, trueSpec } from "./bed.ts";

type Rule = MessageInitShape<typeof EgressRuleSchema>;

describe("network policies", () => {
  let bed: Bed;
  let jobs: Client<typeof JobService>;
  beforeEach(async () => {
    bed = await Bed.open();
    jobs = bed.client(JobService);
  });
  afterEach(() => bed.close());

  /** Reason and field of the refusal; `ok` if there is none. */
  async function verdict(...allow: Rule[]): Promise<string> {
    try {
      await jobs.createJob({ spec: { ...trueSpec, network: { allow } } });
      return "ok";
    } catch (error) {
      const { reason, metadata } = toDevmeshError(error);
      return `${reason} ${metadata.field ?? ""}`;
    }
  }

  const secret = { header: "authorization", secret: "KEY", prefix: "Bearer " };
  const host = "a.example";

  it("take what makes sense", async () => {
    expect(await verdict()).to.equal("ok");
    expect(
      await verdict(
        { host },
        { host: "*.b.example", port: 8443, methods: ["GET"], paths: ["/x/", "/y"] },
        { host: "c.example", plainHttp: true },
        { host: "c.example" },
        { host: "d.example", secrets: [secret] },
        { host: "d.example", methods: ["GET"], secrets: [secret] },
      ),
    ).to.equal("ok");
  });

  it("say of an address what is wanted in its place", async () => {
    const spec = { ...trueSpec, network: { allow: [{ host: "10.0.0.1" }] } };
    const told = await jobs.createJob({ spec }).then(() => "", String);
    expect(told).to.contain("an address is refused").and.not.contain("regex");
  });

  const at = (field: string) => `INVALID_FIELD spec.network.allow${field}`;
  const cases: readonly (readonly [string, Rule[], string])[] = [
    ["an address", [{ host: "10.0.0.1" }], at("[0].host")],
    ["an address in another base", [{ host: "0x7f000001" }], at("[0].host")],
    ["capitals", [{ host: "A.example" }], at("[0].host")],
    ["a star alone", [{ host: "*" }], at("[0].host")],
    ["a name beyond ASCII", [{ host: "ä.example" }], at("[0].host")],
    ["a trailing dot", [{ host: "a.example." }], at("[0].host")],
    ["a name of 254 bytes", [{ host: `${"a.".repeat(126)}aa` }], at("[0].host")],
    ["a port beyond the last", [{ host, port: 65_536 }], at("[0].port")],
    ["plain HTTP on the port of TLS", [{ host, port: 443, plainHttp: true }], at("[0].plainHttp")],
    ["TLS on the port of plain HTTP", [{ host, port: 80 }], at("[0].port")],
    [
      "both on one port",
      [
        { host, port: 8080 },
        { host, port: 8080, plainHttp: true },
      ],
      at("[0].plainHttp"),
    ],
    ["CONNECT within", [{ host, methods: ["GET", "CONNECT"] }], at("[0].methods[1]")],
    ["a method in small letters", [{ host, methods: ["get"] }], at("[0].methods[0]")],
    ["a path with dots", [{ host, paths: ["/a", "/b/../c"] }], at("[0].paths[1]")],
    ["a path with an escape", [{ host, paths: ["/a%2fb"] }], at("[0].paths[0]")],
    ["a path with a query", [{ host, paths: ["/a?b"] }], at("[0].paths[0]")],
    ["a path with an empty part", [{ host, paths: ["//a"] }], at("[0].paths[0]")],
    ["a path that is none", [{ host, paths: ["a"] }], at("[0].paths[0]")],
    ["a secret over plain HTTP", [{ host, plainHttp: true, secrets: [secret] }], at("[0].secrets")],
    [
      "a secret as Host",
      [{ host, secrets: [{ ...secret, header: "Host" }] }],
      at("[0].secrets[0].header"),
    ],
    [
      "two secrets in one header",
      [{ host, secrets: [secret, { ...secret, header: "Authorization" }] }],
      at("[0].secrets[1].header"),
    ],
    [
      "two secrets of two rules",
      [
        { host, secrets: [secret] },
        { host, secrets: [{ ...secret, secret: "B" }] },
      ],
      at("[0].secrets[0].header"),
    ],
    [
      "a prefix with a line's end",
      [{ host, secrets: [{ ...secret, prefix: "a\r\nb" }] }],
      at("[0].secrets[0].prefix"),
    ],
    [
      "a secret with two prefixes",
      [
        { host, secrets: [secret] },
        { host, methods: ["GET"], secrets: [{ ...secret, prefix: "Token " }] },
      ],
      at("[0].secrets[0].prefix"),
    ],
    ["a path that is there twice", [{ host, paths: ["/a", "/b", "/a"] }], at("[0].paths[2]")],
    ["a rule that says nothing", [{ host }, {}], at("[1].host")],
    ["a rule that is there twice", [{ host }, { host, port: 443 }], at("[1]")],
    [
      "a rule that is there twice in other words",
      [
        { host, methods: ["GET", "PUT"], paths: ["/a"], secrets: [secret] },
        {
          ...{ host, methods: ["PUT", "GET"], paths: ["/a"] },
          secrets: [{ ...secret, header: "Authorization" }],
        },
      ],
      at("[1]"),
    ],
    [
      "a bound without effect",
      [{ host: "x.a.example", methods: ["GET"] }, { host: "*.a.example" }],
      at("[0]"),
    ],
  ];
  for (const [what, rules, expected] of cases) {
    it(`refuse ${what}`, async () => {
      expect(await verdict(...rules)).to.equal(expected);
    });
  }
});
