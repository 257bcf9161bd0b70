import { globSync } from "node:fs";
import { join } from "node:path";
import type { DescField, DescMessage, DescMethod, DescService } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { accessOf } from "@devmesh/mesh/interceptors";
import { openApiDocument, type RestRoute, restRoutes } from "@devmesh/mesh/rest";
import { bindMethods } from "@devmesh/mesh/server";
import { expect } from "chai";

const contracts = join(import.meta.dirname, "../../gen/devmesh");

function isService(value: unknown): value is DescService {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
}

/** The routes of all services of one package, as one server would have them. */
async function routesOf(name: string): Promise<RestRoute[]> {
  const files = globSync("v1/*_service_pb.js", { cwd: join(contracts, name) }).sort();
  const modules: Record<string, unknown>[] = await Promise.all(
    files.map((file) => import(join(contracts, name, file))),
  );
  const services = modules.flatMap((exported) => Object.values(exported)).filter(isService);
  const served = services.map((desc) => ({ desc, impl: {}, register: () => {} }));
  return restRoutes(bindMethods(served, []));
}

const nameOf = ({ method }: RestRoute) => `${method.desc.parent.name}.${method.desc.name}`;

/** Two routes that the same request could mean. */
function* clashes(routes: readonly RestRoute[]): Generator<readonly [RestRoute, RestRoute]> {
  for (const [i, a] of routes.entries()) {
    for (const b of routes.slice(i + 1)) {
      if (a.verb === b.verb && (sampleOf(a, b) || sampleOf(b, a))) yield [a, b];
    }
  }
}

/** True if a path of `a` is one of `b` too. */
function sampleOf(a: RestRoute, b: RestRoute): boolean {
  return b.path.match(a.path.source.replaceAll(/\{\w+\}/g, "sample")) !== undefined;
}

function fieldAt(message: DescMessage, name: string): DescField | undefined {
  return message.fields.find((field) => field.name === name);
}

describe("the REST routes of the contracts", () => {
  let packages: RestRoute[][];
  let all: RestRoute[];
  before(async () => {
    packages = await Promise.all(["api", "inference", "mcp", "vm"].map(routesOf));
    all = packages.flat();
  });

  it("are those of one method each; only a unary method and a stream share one", () => {
    for (const routes of packages) {
      for (const [a, b] of clashes(routes)) {
        expect(a.path.source, `${nameOf(a)} and ${nameOf(b)}`).to.equal(b.path.source);
        expect(a.streams, `${nameOf(a)} and ${nameOf(b)}`).to.not.equal(b.streams);
      }
    }
  });

  it("who share one want the same scope and the same body", () => {
    const scopeOf = ({ method }: RestRoute) => accessOf(method.desc)?.scope;
    for (const routes of packages) {
      for (const [a, b] of clashes(routes)) {
        expect(scopeOf(a), nameOf(a)).to.equal(scopeOf(b));
        expect(a.body, nameOf(a)).to.equal(b.body);
      }
    }
  });

  it("name variables and bodies that are fields of the request", () => {
    for (const route of all) {
      const { input } = route.method.desc;
      for (const name of route.path.variables) {
        expect(fieldAt(input, name)?.fieldKind, `${nameOf(route)} {${name}}`).to.equal("scalar");
      }
      if (route.body === "" || route.body === "*") continue;
      expect(fieldAt(input, route.body)?.fieldKind, nameOf(route)).to.equal("message");
    }
  });

  it("read with GET exactly what takes no body and changes nothing", () => {
    for (const route of all) {
      const changes =
        route.method.desc.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
      if (route.verb === "GET") expect(changes, nameOf(route)).to.equal(false);
      if (route.verb === "GET" || route.verb === "DELETE") expect(route.body).to.equal("");
    }
  });

  it("are under /v1, in lower case", () => {
    for (const { path } of all) expect(path.source).to.match(/^\/v1\/[a-z/{}_:-]+$/);
  });

  it("cover every public method that is no stream of the client's", () => {
    const served = new Set(all.map(({ method }) => method.desc));
    const services = new Set(all.map(({ method }) => method.desc.parent));
    const open = [...services]
      .flatMap((service): DescMethod[] => service.methods)
      .filter((method) => accessOf(method)?.public === true);
    for (const method of open) expect(served.has(method), method.name).to.equal(true);
  });

  it("are described with their scope, media types and body", () => {
    interface Operation {
      readonly security?: unknown;
      readonly "x-scope"?: string;
      readonly requestBody?: unknown;
      readonly responses: Record<string, { readonly content: object }>;
    }
    const methods = all.map(({ method }) => method);
    const { paths } = openApiDocument(methods, { title: "x", version: "1" }) as {
      paths: Record<string, Record<string, Operation>>;
    };
    for (const route of all) {
      const shown = paths[route.path.source]?.[route.verb.toLowerCase()];
      const access = accessOf(route.method.desc);
      expect(shown?.["x-scope"], nameOf(route)).to.equal(access?.scope || undefined);
      expect(shown?.security === undefined, nameOf(route)).to.equal(access?.public === true);
      expect(shown?.requestBody !== undefined, nameOf(route)).to.equal(route.body !== "");
      const type = route.streams ? "text/event-stream" : "application/json";
      expect(Object.keys(shown?.responses["200"]?.content ?? {}), nameOf(route)).to.include(type);
      expect(shown?.responses).to.have.property("default");
    }
  });
});
