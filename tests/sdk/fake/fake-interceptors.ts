/** The fake server's rules on every call: request id, errors, token, scope, validation. */
import { create, getOption, hasOption } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { createContextKey, type Interceptor } from "@connectrpc/connect";
import { type Token, TokenSchema } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { access } from "@devmesh/gen/devmesh/options/v1/access_pb";
import { DevmeshError, invalidField, toConnectError } from "@devmesh/mesh/errors";
import type { FakeDevmesh } from "./fake-devmesh.ts";

/** Who calls. */
export const callerKey = createContextKey<Token>(create(TokenSchema, { id: "anonymous" }));

/** All of them in one. */
export function createFakeInterceptor(fake: FakeDevmesh): Interceptor {
  const validator = createValidator();
  return (next) => async (request) => {
    const requestId = `req-${++fake.calls}`;
    const refuse = (error: unknown) => {
      const wire = toConnectError(error);
      wire.metadata.set("x-request-id", requestId);
      return wire;
    };
    try {
      fake.log.push({ method: request.method.name, header: new Headers(request.header) });
      await fake.faults.strike(request.method.name, request.signal);
      const rule = hasOption(request.method, access)
        ? getOption(request.method, access)
        : undefined;
      if (!rule?.public) {
        const secret = /^Bearer (.+)$/.exec(request.header.get("authorization") ?? "")?.[1];
        const token = fake.tokens.authenticate(secret);
        if (rule !== undefined && !token.scopes.includes(rule.scope)) {
          throw new DevmeshError("SCOPE_MISSING", `the token lacks the scope ${rule.scope}`, {
            metadata: { scope: rule.scope },
          });
        }
        request.contextValues.set(callerKey, token);
      }
      if (!request.stream) {
        const result = validator.validate(request.method.input, request.message);
        const [first] = result.violations ?? [];
        if (first !== undefined) throw invalidField(String(first.field.at(-1)), first.message);
      }
      const response = await next(request);
      response.header.set("x-request-id", requestId);
      if (!response.stream) return response;
      const { message } = response;
      return {
        ...response,
        message: (async function* () {
          try {
            yield* message;
          } catch (error) {
            throw refuse(error);
          }
        })(),
      };
    } catch (error) {
      throw refuse(error);
    }
  };
}
