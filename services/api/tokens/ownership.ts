/**
 * Holds methods with `owned: true` to the owner of the resource that the
 * request names. To anybody else the resource does not exist: the answer is
 * the one for an id that never was.
 */
import type { DescMethod, DescService, Message } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import { kPrincipal, kSubject, type Principal } from "@devmesh/mesh/context";
import { notFound } from "@devmesh/mesh/errors";
import { accessOf } from "@devmesh/mesh/interceptors";
import { adminScope } from "./scopes.ts";

/** Whose the resources of one service are. Its owned methods name them in the field `id`. */
export interface OwnedResource {
  readonly service: DescService;
  /** For the refusal: `job`, `token`. */
  readonly resource: string;
  /** Whose it is; undefined if there is none. */
  ownerOf(id: string): Promise<string | undefined>;
  /** True if it is what a job's own token may reach. */
  isOfJob(id: string, jobId: string): boolean;
}

/** Throws NOT_FOUND before the handler runs. Runs after the message was validated. */
export function ownershipInterceptor(resources: readonly OwnedResource[]): Interceptor {
  const byService = new Map(resources.map((resource) => [resource.service.typeName, resource]));
  return (next) => async (req) => {
    if (accessOf(req.method)?.owned !== true) return next(req);
    const owned = ruleOf(byService, req.method);
    const principal = req.contextValues.get(kPrincipal);
    const check = async (message: Message) => {
      const { id } = message as Message & { readonly id: string };
      // Of a refusal too: the audit names what was asked for.
      req.contextValues.get(kSubject).resource = id;
      if (!(await mayKnow(principal, owned, id))) throw notFound(owned.resource, id);
    };
    if (!req.stream) {
      await check(req.message);
      return next(req);
    }
    return next({ ...req, message: checked(req.message, check) });
  };
}

function ruleOf(byService: ReadonlyMap<string, OwnedResource>, method: DescMethod): OwnedResource {
  const owned = byService.get(method.parent.typeName);
  if (owned !== undefined) return owned;
  throw new Error(`${method.parent.typeName}/${method.name} is owned, and nobody says by whom`);
}

async function mayKnow(caller: Principal, owned: OwnedResource, id: string): Promise<boolean> {
  if (caller.jobId !== "") return owned.isOfJob(id, caller.jobId);
  if (caller.scopes.has(adminScope)) return true;
  return (await owned.ownerOf(id)) === caller.owner;
}

async function* checked<T extends Message>(
  messages: AsyncIterable<T>,
  check: (message: T) => Promise<void>,
) {
  for await (const message of messages) {
    await check(message);
    yield message;
  }
}
