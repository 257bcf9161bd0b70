import { globSync } from "node:fs";
import { join } from "node:path";
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { accessOf } from "@devmesh/mesh/interceptors";
import { expect } from "chai";

/** Methods that change something and leave no audit row, and why. */
const unaudited: Readonly<Record<string, string>> = {
  "devmesh.api.v1.RunnerService/LeaseJobs":
    "polled all the time by every runner; a lease is an event of its job",
  "devmesh.api.v1.RunnerService/Heartbeat": "several times a minute for every held job",
  "devmesh.api.v1.RunnerService/AppendEvents":
    "the events themselves are the record, numbered and without a gap",
  "devmesh.api.v1.RunnerService/ListLeaseNotes": "reads, and renews the lease as a heartbeat does",
};

/** Methods that only read and leave an audit row all the same, and why. */
const auditedReads: Readonly<Record<string, string>> = {
  "devmesh.api.v1.BackupService/CreateBackup": "its answer is a copy of everything there is",
};

/** Every service of ours, from the generated code. */
async function services(): Promise<DescService[]> {
  const folder = join(import.meta.dirname, "../../gen/devmesh");
  const files = globSync("**/*_service_pb.js", { cwd: folder }).sort();
  const modules: Record<string, unknown>[] = await Promise.all(
    files.map((file) => import(join(folder, file))),
  );
  return modules.flatMap((exported) => Object.values(exported)).filter(isService);
}

function isService(value: unknown): value is DescService {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
}

describe("access rules of every method", () => {
  let methods: DescMethod[];
  const nameOf = (method: DescMethod) => `${method.parent.typeName}/${method.name}`;
  before(async () => {
    methods = (await services()).flatMap((service) => service.methods);
  });

  it("finds the contracts", () => {
    expect(methods.length).to.be.greaterThan(40);
  });

  it("exist: a scope, or open to everybody, never both", () => {
    for (const method of methods) {
      const rule = accessOf(method);
      expect(rule, nameOf(method)).to.not.equal(undefined);
      expect((rule?.scope ?? "") !== "", nameOf(method)).to.equal(rule?.public !== true);
      if (rule?.scope) expect(rule.scope, nameOf(method)).to.match(/^[a-z]+:[a-z]+$/);
    }
  });

  it("audit what changes something, and nothing else", () => {
    for (const method of methods) {
      const reads = method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
      const audited = (accessOf(method)?.audit ?? "") !== "";
      const table = reads ? auditedReads : unaudited;
      const wanted = reads === Object.hasOwn(table, nameOf(method));
      expect(audited, nameOf(method)).to.equal(wanted);
    }
  });

  it("lists no exception that does not exist", () => {
    const names = methods.map(nameOf);
    const exceptions = [...Object.keys(unaudited), ...Object.keys(auditedReads)];
    for (const name of exceptions) expect(names).to.include(name);
  });

  it("names an audited action once for each thing that can be done", () => {
    for (const method of methods) {
      const audit = accessOf(method)?.audit ?? "";
      if (audit !== "") expect(audit, nameOf(method)).to.match(/^[a-z_]+\.[a-z_]+$/);
    }
  });
});
