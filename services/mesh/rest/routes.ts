/** REST routes from the `google.api.http` options of the methods that are served. */
import { getOption, hasOption } from "@bufbuild/protobuf";
import { http } from "@devmesh/gen/google/api/annotations_pb";
import type { HttpRule } from "@devmesh/gen/google/api/http_pb";
import type { BoundMethod } from "../server/methods.ts";
import { compilePath, type PathTemplate } from "./path-template.ts";

/** One route of one method. */
export interface RestRoute {
  readonly verb: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: PathTemplate;
  /** `*`: the body is the message; a field's name: the body is that field; empty: no body. */
  readonly body: string;
  readonly method: BoundMethod;
  /** True for a server stream: answered as server-sent events. */
  readonly streams: boolean;
}

/**
 * The routes of the methods. A unary method and a server stream may share a
 * verb and path: `Accept: text/event-stream` picks the stream.
 */
export function restRoutes(methods: readonly BoundMethod[]): RestRoute[] {
  return methods.flatMap((method) => {
    if (!hasOption(method.desc, http)) return [];
    if (method.desc.methodKind !== "unary" && method.desc.methodKind !== "server_streaming") {
      throw new Error(`${method.path}: only unary methods and server streams have REST routes`);
    }
    const rule = getOption(method.desc, http);
    const { verb, path } = patternOf(method.path, rule);
    return [
      {
        verb,
        path: compilePath(path),
        body: rule.body,
        method,
        streams: method.desc.methodKind === "server_streaming",
      },
    ];
  });
}

function patternOf(
  method: string,
  { pattern }: HttpRule,
): { verb: RestRoute["verb"]; path: string } {
  switch (pattern.case) {
    case "get":
      return { verb: "GET", path: pattern.value };
    case "post":
      return { verb: "POST", path: pattern.value };
    case "put":
      return { verb: "PUT", path: pattern.value };
    case "patch":
      return { verb: "PATCH", path: pattern.value };
    case "delete":
      return { verb: "DELETE", path: pattern.value };
    case "custom":
    case undefined:
      throw new Error(`${method}: unsupported google.api.http pattern`);
  }
}
