/** The OpenAPI 3.1 document of the REST routes, from the same descriptors. */
import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { accessOf } from "../interceptors/access.ts";
import type { BoundMethod } from "../server/methods.ts";
import { type RestRoute, restRoutes } from "./routes.ts";

type Schema = Record<string, unknown>;

/** What the document says of the server. */
export interface OpenApiInfo {
  readonly title: string;
  readonly version: string;
}

/**
 * Makes the document. Schemas follow proto JSON: camelCase, 64-bit numbers as
 * strings. `others` are paths that no method stands behind.
 */
export function openApiDocument(
  methods: readonly BoundMethod[],
  info: OpenApiInfo,
  others: Readonly<Record<string, Schema>> = {},
): Schema {
  const schemas = new Map<string, Schema>();
  const paths: Record<string, Record<string, Schema>> = {};
  for (const route of restRoutes(methods)) {
    const path = route.path.source.replace(/\{(\w+)\}/g, (_, name: string) => `{${name}}`);
    const operations = paths[path] ?? {};
    paths[path] = operations;
    const verb = route.verb.toLowerCase();
    operations[verb] = merged(operations[verb], operation(route, schemas));
  }
  return {
    openapi: "3.1.0",
    info,
    paths: { ...paths, ...others },
    components: {
      schemas: { ...Object.fromEntries(schemas), Problem: problemSchema },
      securitySchemes: { bearer: { type: "http", scheme: "bearer" } },
    },
  };
}

/** A unary method and a stream on one route are one operation with two media types. */
function merged(first: Schema | undefined, second: Schema): Schema {
  if (first === undefined) return second;
  const contentOf = (op: Schema) =>
    (op.responses as Record<string, { content: Schema }>)["200"]?.content ?? {};
  const responses = first.responses as Record<string, Schema>;
  return {
    ...first,
    responses: {
      ...responses,
      "200": { description: "OK", content: { ...contentOf(first), ...contentOf(second) } },
    },
  };
}

function operation(route: RestRoute, schemas: Map<string, Schema>): Schema {
  const { desc } = route.method;
  const access = accessOf(desc);
  const mediaType = route.streams ? "text/event-stream" : "application/json";
  return {
    operationId: `${desc.parent.name}_${desc.name}`,
    tags: [desc.parent.name],
    ...(access?.public !== true && { security: [{ bearer: [] }], "x-scope": access?.scope }),
    parameters: [...pathParameters(route), ...queryParameters(route, schemas)],
    ...(route.body !== "" && {
      requestBody: {
        required: true,
        content: { "application/json": { schema: bodySchema(route, schemas) } },
      },
    }),
    responses: {
      "200": {
        description: "OK",
        content: { [mediaType]: { schema: messageRef(desc.output, schemas) } },
      },
      default: {
        description: "A problem (RFC 9457); `reason` is from devmesh.errors.v1.ErrorReason",
        content: {
          "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
        },
      },
    },
  };
}

function pathParameters(route: RestRoute): Schema[] {
  return route.path.variables.map((name) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
}

function queryParameters(route: RestRoute, schemas: Map<string, Schema>): Schema[] {
  if (route.body === "*") return [];
  return route.method.desc.input.fields
    .filter((f) => !route.path.variables.includes(f.name) && f.name !== route.body)
    .filter((f) => f.fieldKind === "scalar" || f.fieldKind === "enum" || f.fieldKind === "list")
    .map((f) => ({ name: f.jsonName, in: "query", schema: fieldSchema(f, schemas) }));
}

function bodySchema(route: RestRoute, schemas: Map<string, Schema>): Schema {
  const { input } = route.method.desc;
  if (route.body === "*") return messageRef(input, schemas);
  const field = input.fields.find((f) => f.name === route.body);
  return field === undefined ? {} : fieldSchema(field, schemas);
}

function messageRef(message: DescMessage, schemas: Map<string, Schema>): Schema {
  const known = wellKnown[message.typeName];
  if (known !== undefined) return known;
  if (!schemas.has(message.typeName)) {
    // Entered before its fields, so that a message may hold itself.
    schemas.set(message.typeName, {});
    schemas.set(message.typeName, {
      type: "object",
      properties: Object.fromEntries(
        message.fields.map((f) => [f.jsonName, fieldSchema(f, schemas)]),
      ),
      additionalProperties: false,
    });
  }
  return { $ref: `#/components/schemas/${message.typeName}` };
}

function fieldSchema(field: DescField, schemas: Map<string, Schema>): Schema {
  switch (field.fieldKind) {
    case "scalar":
      return scalarSchema(field.scalar);
    case "enum":
      return enumSchema(field.enum);
    case "message":
      return messageRef(field.message, schemas);
    case "list":
      return { type: "array", items: itemSchema(field, schemas) };
    case "map":
      return { type: "object", additionalProperties: itemSchema(field, schemas) };
  }
}

type Collection = DescField & { fieldKind: "list" | "map" };

function itemSchema(field: Collection, schemas: Map<string, Schema>): Schema {
  if (field.message !== undefined) return messageRef(field.message, schemas);
  if (field.enum !== undefined) return enumSchema(field.enum);
  return scalarSchema(field.scalar ?? ScalarType.STRING);
}

function enumSchema(desc: DescEnum): Schema {
  return { type: "string", enum: desc.values.map((value) => value.name) };
}

function scalarSchema(scalar: ScalarType): Schema {
  switch (scalar) {
    case ScalarType.BOOL:
      return { type: "boolean" };
    case ScalarType.STRING:
      return { type: "string" };
    case ScalarType.BYTES:
      return { type: "string", contentEncoding: "base64" };
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return { type: "number" };
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return { type: "string", pattern: "^-?[0-9]+$" };
    default:
      return { type: "integer" };
  }
}

const wellKnown: Record<string, Schema> = {
  "google.protobuf.Timestamp": { type: "string", format: "date-time" },
  "google.protobuf.Duration": { type: "string", pattern: "^-?[0-9]+(\\.[0-9]+)?s$" },
  "google.protobuf.Struct": { type: "object" },
};

const problemSchema: Schema = {
  type: "object",
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" },
    reason: { type: "string" },
    metadata: { type: "object", additionalProperties: { type: "string" } },
    requestId: { type: "string" },
    retryable: { type: "boolean" },
  },
};
