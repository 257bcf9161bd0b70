/** Holds every request message to the rules that its proto declares (protovalidate). */
import type { Message } from "@bufbuild/protobuf";
import { createValidator, type Violation } from "@bufbuild/protovalidate";
import type { Interceptor } from "@connectrpc/connect";
import { DevmeshError } from "../errors/index.ts";
import { mapStream } from "../runtime/index.ts";

const validator = createValidator();

/** Throws INVALID_FIELD that names the fields in fault, ten at most, and the rules they break. */
export function validateInterceptor(): Interceptor {
  return (next) => (req) => {
    const schema = req.method.input;
    const check = (message: Message): Message => {
      const result = validator.validate(schema, message);
      if (result.kind === "valid") return message;
      if (result.kind === "error") throw result.error;
      throw violationError(result.violations);
    };
    if (!req.stream) {
      check(req.message);
      return next(req);
    }
    return next({ ...req, message: mapStream(req.message, check) });
  };
}

/** How many fields in fault a refusal names: gRPC sends it in a trailer, which is short. */
const maxNamed = 10;

function violationError(violations: readonly Violation[]): DevmeshError {
  const named = violations
    .slice(0, maxNamed)
    .map((v) => ({ field: fieldName(v), message: v.message }));
  const text = named.map((v) => (v.field ? `${v.field}: ${v.message}` : v.message)).join("; ");
  const more = violations.length - named.length;
  return new DevmeshError("INVALID_FIELD", more > 0 ? `${text}; and ${more} more` : text, {
    metadata: { field: [...new Set(named.map((v) => v.field))].join(",") },
  });
}

function fieldName(violation: Violation): string {
  let name = "";
  for (const part of violation.field) {
    if (part.kind === "field" || part.kind === "oneof" || part.kind === "extension") {
      const local = part.kind === "field" ? part.jsonName : part.name;
      name += name === "" ? local : `.${local}`;
    } else if (part.kind === "list_sub") name += `[${part.index}]`;
    else name += `[${JSON.stringify(String(part.key))}]`;
  }
  return name;
}
