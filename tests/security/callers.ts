/** Every kind of caller that the authorisation matrix knows, and what its credentials are worth. */
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { type Lease, RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { Bed, trueSpec } from "../api/bed.ts";

/** A kind of caller, for one scope. */
export interface Caller {
  /** What it sends as `Authorization`. Empty: nothing. */
  readonly authorization: string;
  /** What the credentials are: none at all, none that are good, or good ones. */
  readonly is: "nobody" | "refused" | "known";
  readonly owner: string;
  holds(scope: string): boolean;
  /** Calls go to a server with the dev bypass. Default: false. */
  readonly bypass?: boolean;
}

/** Makes the callers. `scopes` is every scope there is. */
export class Callers {
  readonly #bed: Bed;
  readonly #scopes: readonly string[];
  readonly #jobToken: string;
  readonly #foreign: string;
  readonly #made = new Map<string, Promise<string>>();

  private constructor(bed: Bed, scopes: readonly string[], jobToken: string, foreign: string) {
    this.#bed = bed;
    this.#scopes = scopes;
    this.#jobToken = jobToken;
    this.#foreign = foreign;
  }

  static async open(bed: Bed, scopes: readonly string[]): Promise<Callers> {
    const other = await Bed.open();
    const foreign = other.ownerSecret;
    await other.close();
    return new Callers(bed, scopes, (await leaseOf(bed)).jobToken, foreign);
  }

  /** Every kind, for a method with this scope; empty for a public one. */
  async all(scope: string): Promise<Record<string, Caller>> {
    const wanted = scope === "" ? "read:self" : scope;
    const good = await this.#secret("ann", [wanted]);
    const others = this.#scopes.filter((other) => other !== wanted && other !== "admin:owners");
    const known = (secret: string, owner: string, held: readonly string[]): Caller => ({
      ...{ authorization: `Bearer ${secret}`, is: "known", owner },
      holds: (asked) => held.includes(asked),
    });
    const onlyAdmin = ["admin:owners"];
    const admin = [wanted, ...onlyAdmin];
    const every = { holds: () => true };
    const jobScopes = ["llm:invoke", "context:read", "read:self"];
    return {
      anonymous: { authorization: "", is: "nobody", owner: "", holds: () => false },
      "without a scheme": refused(good),
      "another scheme": refused(`Basic ${good}`),
      "no secret": refused("Bearer "),
      "a malformed secret": refused("Bearer dm_ü!"),
      "an unknown secret": refused(`Bearer dm_${"A".repeat(43)}`),
      "a truncated secret": refused(`Bearer ${good.slice(0, -1)}`),
      "a secret with more behind it": refused(`Bearer ${good}A`),
      "a secret with one bit altered": refused(`Bearer ${oneBitOff(good)}`),
      "a secret of another deployment": refused(`Bearer ${this.#foreign}`),
      "an expired token": refused(`Bearer ${await this.#ended(wanted, "expired")}`),
      "a revoked token": refused(`Bearer ${await this.#ended(wanted, "revoked")}`),
      "a secret that was rotated away": refused(`Bearer ${await this.#ended(wanted, "rotated")}`),
      "the owner with that scope only": known(good, "ann", [wanted]),
      "the owner without that scope": known(await this.#secret("ann", others), "ann", others),
      "another owner with that scope": known(await this.#secret("bob", [wanted]), "bob", [wanted]),
      "admin:owners and that scope": known(await this.#secret("bob", admin), "bob", admin),
      "admin:owners only": known(await this.#secret("bob", onlyAdmin), "bob", onlyAdmin),
      "the owner's token": { ...known(this.#bed.ownerSecret, "owner", []), ...every },
      "a job's token": known(this.#jobToken, "owner", jobScopes),
      "the services' secret": { ...known("the-services-secret", "service", []), ...every },
      "the dev bypass": {
        ...{ authorization: "", is: "known", owner: "owner", bypass: true },
        ...every,
      },
    };
  }

  /** One token for each owner and set of scopes. */
  #secret(owner: string, scopes: readonly string[]): Promise<string> {
    const key = `${owner} ${scopes.join(" ")}`;
    let secret = this.#made.get(key);
    if (secret === undefined) {
      secret = this.#create(owner, scopes).then((made) => made.secret);
      this.#made.set(key, secret);
    }
    return secret;
  }

  async #ended(scope: string, how: "expired" | "revoked" | "rotated"): Promise<string> {
    const key = `${how} ${scope}`;
    const made = this.#made.get(key) ?? this.#endedNow(scope, how);
    this.#made.set(key, made);
    return made;
  }

  async #endedNow(scope: string, how: "expired" | "revoked" | "rotated"): Promise<string> {
    const tokens = this.#bed.client(TokenService);
    const { secret, token } = await this.#create("ann", [scope], how === "expired" ? 1 : 0);
    const id = token?.id ?? "";
    if (how === "revoked") await tokens.revokeToken({ id });
    if (how === "rotated") await tokens.rotateToken({ id });
    if (how === "expired") this.#bed.clock.advance(1);
    return secret;
  }

  #create(owner: string, scopes: readonly string[], ttlMs = 0) {
    const ttl = ttlMs === 0 ? {} : { ttl: durationFromMs(ttlMs) };
    const name = `${owner} token`;
    return this.#bed.client(TokenService).createToken({ name, owner, scopes: [...scopes], ...ttl });
  }
}

function refused(authorization: string): Caller {
  return { authorization, is: "refused", owner: "", holds: () => false };
}

/** The same text with the lowest bit of one character turned. */
function oneBitOff(secret: string): string {
  const at = 20;
  const turned = String.fromCharCode(secret.charCodeAt(at) ^ 1);
  // What is no character of a secret any more is refused for its form; both are wrong.
  return secret.slice(0, at) + turned + secret.slice(at + 1);
}

/** The lease of a job that runs. */
export async function leaseOf(bed: Bed): Promise<Lease> {
  const runner = bed.client(RunnerService);
  const row = { driver: "test", isolation: Isolation.PROCESS, available: true };
  await runner.registerRunner({
    runner: { id: "run_1", host: "h", version: "0", capacity: 1, capabilities: [row] },
  });
  await bed.client(JobService).createJob({ spec: trueSpec });
  const isolations = [Isolation.PROCESS];
  const { leases } = await runner.leaseJobs({ runnerId: "run_1", maxJobs: 1, isolations });
  const [lease] = leases;
  if (lease === undefined) throw new Error("nothing was leased");
  return lease;
}
