/**
 * gRPC server reflection, v1 and v1alpha, from the descriptors of what is
 * served: grpcurl and buf curl need no proto file.
 */
import {
  create,
  type DescFile,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { file_devmesh_errors_v1_reason } from "@devmesh/gen/devmesh/errors/v1/reason_pb";
import { file_google_rpc_error_details } from "@devmesh/gen/google/rpc/error_details_pb";
import {
  ServerReflection,
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
} from "@devmesh/gen/grpc/reflection/v1/reflection_pb";
import {
  type ServerReflectionRequest as AlphaRequest,
  ServerReflectionRequestSchema as AlphaRequestSchema,
  ServerReflectionResponseSchema as AlphaResponseSchema,
  ServerReflection as ServerReflectionAlpha,
} from "@devmesh/gen/grpc/reflection/v1alpha/reflection_pb";
import { type ServiceRegistration, serve } from "./service.ts";

type Answer = MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"];

/** The reflection services for the given contracts. */
export function reflectionServices(
  services: readonly ServiceRegistration[],
): ServiceRegistration[] {
  const described = [...services.map(({ desc }) => desc), ServerReflection, ServerReflectionAlpha];
  // Errors carry details of types that no contract imports: tools ask for these too.
  const details = [file_google_rpc_error_details, file_devmesh_errors_v1_reason];
  const index = new DescriptorIndex([...described.map((desc) => desc.file), ...details]);
  const names = described.map((desc) => desc.typeName).sort();
  async function* reflect(requests: AsyncIterable<ServerReflectionRequest>) {
    for await (const request of requests) {
      yield create(ServerReflectionResponseSchema, {
        validHost: request.host,
        originalRequest: request,
        messageResponse: answer(index, names, request.messageRequest),
      });
    }
  }
  return [
    serve(ServerReflection, { serverReflectionInfo: reflect }),
    // v1alpha has the same bytes under another package name.
    serve(ServerReflectionAlpha, {
      async *serverReflectionInfo(requests) {
        for await (const response of reflect(fromAlpha(requests))) {
          const bytes = toBinary(ServerReflectionResponseSchema, response);
          yield fromBinary(AlphaResponseSchema, bytes);
        }
      },
    }),
  ];
}

async function* fromAlpha(requests: AsyncIterable<AlphaRequest>) {
  for await (const request of requests) {
    yield fromBinary(ServerReflectionRequestSchema, toBinary(AlphaRequestSchema, request));
  }
}

function answer(
  index: DescriptorIndex,
  services: readonly string[],
  request: ServerReflectionRequest["messageRequest"],
): Answer {
  switch (request.case) {
    case "listServices":
      return {
        case: "listServicesResponse",
        value: { service: services.map((name) => ({ name })) },
      };
    case "fileByFilename":
      return filesOf(index.byName(request.value), `file ${request.value}`);
    case "fileContainingSymbol":
      return filesOf(index.bySymbol(request.value), `symbol ${request.value}`);
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = request.value;
      return filesOf(
        index.byExtension(containingType, extensionNumber),
        `extension ${extensionNumber} of ${containingType}`,
      );
    }
    case "allExtensionNumbersOfType":
      return {
        case: "allExtensionNumbersResponse",
        value: {
          baseTypeName: request.value,
          extensionNumber: index.extensionNumbers(request.value),
        },
      };
    case undefined:
      return failure(Code.InvalidArgument, "the request names nothing to look up");
  }
}

function filesOf(file: DescFile | undefined, what: string): Answer {
  if (file === undefined) return failure(Code.NotFound, `${what} is not served here`);
  const bytes = withDependencies(file).map((f) => toBinary(FileDescriptorProtoSchema, f.proto));
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto: bytes } };
}

function failure(code: Code, message: string): Answer {
  return { case: "errorResponse", value: { errorCode: code, errorMessage: message } };
}

function withDependencies(file: DescFile): DescFile[] {
  const seen = new Set<DescFile>();
  const visit = (f: DescFile) => {
    if (seen.has(f)) return;
    seen.add(f);
    for (const dependency of f.dependencies) visit(dependency);
  };
  visit(file);
  return [...seen];
}

/** Finds files by name, by the symbols they define, and by extension. */
class DescriptorIndex {
  readonly #files = new Map<string, DescFile>();
  readonly #symbols = new Map<string, DescFile>();
  readonly #extensions = new Map<string, Map<number, DescFile>>();

  constructor(files: readonly DescFile[]) {
    for (const file of files.flatMap(withDependencies)) this.#add(file);
  }

  byName(name: string): DescFile | undefined {
    return this.#files.get(name);
  }

  bySymbol(symbol: string): DescFile | undefined {
    return this.#symbols.get(symbol);
  }

  byExtension(typeName: string, number: number): DescFile | undefined {
    return this.#extensions.get(typeName)?.get(number);
  }

  extensionNumbers(typeName: string): number[] {
    return [...(this.#extensions.get(typeName)?.keys() ?? [])];
  }

  #add(file: DescFile): void {
    const name = file.proto.name;
    if (this.#files.has(name)) return;
    this.#files.set(name, file);
    for (const service of file.services) {
      this.#symbols.set(service.typeName, file);
      for (const method of service.methods) {
        this.#symbols.set(`${service.typeName}.${method.name}`, file);
      }
    }
    for (const message of file.messages) this.#addMessage(message, file);
    for (const e of file.enums) this.#symbols.set(e.typeName, file);
    for (const extension of file.extensions) {
      this.#symbols.set(extension.typeName, file);
      const numbers = this.#extensions.get(extension.extendee.typeName) ?? new Map();
      numbers.set(extension.number, file);
      this.#extensions.set(extension.extendee.typeName, numbers);
    }
  }

  #addMessage(message: DescMessage, file: DescFile): void {
    this.#symbols.set(message.typeName, file);
    for (const field of message.fields) {
      this.#symbols.set(`${message.typeName}.${field.name}`, file);
    }
    for (const e of message.nestedEnums) this.#symbols.set(e.typeName, file);
    for (const nested of message.nestedMessages) this.#addMessage(nested, file);
  }
}
