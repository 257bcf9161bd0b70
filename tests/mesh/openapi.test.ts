import { globSync } from "node:fs";
import { join } from "node:path";
import type { DescService } from "@bufbuild/protobuf";
import { openApiDocument, restRoutes } from "@devmesh/mesh/rest";
import { type BoundMethod, bindMethods } from "@devmesh/mesh/server";
import { expect } from "chai";

/** Every contract of the public door. */
async function apiMethods(): Promise<BoundMethod[]> {
  const folder = join(import.meta.dirname, "../../gen/devmesh/api/v1");
  const modules: Record<string, unknown>[] = await Promise.all(
    globSync("*_service_pb.js", { cwd: folder }).map((file) => import(join(folder, file))),
  );
  const services = modules
    .flatMap((exported) => Object.values(exported))
    .filter((value): value is DescService => (value as { kind?: string }).kind === "service");
  return bindMethods(
    services.map((desc) => ({ desc, impl: {}, register: () => {} })),
    [],
  );
}

function* refsIn(value: unknown): Generator<string> {
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    if (key === "$ref" && typeof inner === "string") yield inner;
    else yield* refsIn(inner);
  }
}

interface Operation {
  readonly operationId: string;
  readonly parameters: readonly { readonly name: string; readonly in: string }[];
}

describe("the OpenAPI document", () => {
  let methods: BoundMethod[];
  let document: ReturnType<typeof openApiDocument>;
  let paths: Record<string, Record<string, Operation>>;
  before(async () => {
    methods = await apiMethods();
    document = openApiDocument(methods, { title: "devmesh", version: "0.1.0" });
    paths = document.paths as typeof paths;
  });

  it("is JSON of version 3.1 with a title and a version", () => {
    expect(JSON.parse(JSON.stringify(document))).to.deep.equal(document);
    expect(document.openapi).to.equal("3.1.0");
    expect(document.info).to.deep.equal({ title: "devmesh", version: "0.1.0" });
  });

  it("resolves every $ref", () => {
    const schemas = (document.components as { schemas: object }).schemas;
    const refs = [...refsIn(document)];
    expect(refs).to.not.have.length(0);
    for (const ref of refs) {
      expect(ref).to.match(/^#\/components\/schemas\//);
      expect(schemas).to.have.property(ref.slice("#/components/schemas/".length));
    }
  });

  it("has every REST route, and nothing else", () => {
    const routes = restRoutes(methods).map(({ verb, path }) => `${verb} ${path.source}`);
    const shown = Object.entries(paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((verb) => `${verb.toUpperCase()} ${path}`),
    );
    expect(shown.toSorted()).to.deep.equal([...new Set(routes)].toSorted());
  });

  it("declares each variable of a path, and has each operation id once", () => {
    const ids: string[] = [];
    for (const [path, operations] of Object.entries(paths)) {
      const variables = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      for (const { operationId, parameters } of Object.values(operations)) {
        ids.push(operationId);
        const declared = parameters.filter((p) => p.in === "path").map((p) => p.name);
        expect(declared, path).to.deep.equal(variables);
      }
    }
    expect(new Set(ids).size).to.equal(ids.length);
  });
});
