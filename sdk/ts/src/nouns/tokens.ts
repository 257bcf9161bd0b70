/** The noun `tokens`: access tokens and console links. */
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { type Caller, present } from "../caller.ts";
import type {
  CreateConsoleLinkResponse,
  Token,
  TokenService,
} from "../gen/devmesh/api/v1/token_service_pb.js";
import type { CallOptions } from "../options.ts";

/** A token to be made. */
export interface TokenInput {
  /** What it is for. */
  readonly name: string;
  /** What it may do, for example `read:jobs`. */
  readonly scopes: readonly string[];
  /** Whose it shall be. Default: the caller's owner; another needs `admin:owners`. */
  readonly owner?: string;
  /** How long it lives, in milliseconds. Default: for ever. */
  readonly ttlMs?: number;
}

/** A token with its secret, which is shown only here. */
export interface SecretToken {
  readonly token: Token;
  readonly secret: string;
}

/** Access tokens. */
export class Tokens {
  readonly #client: Client<typeof TokenService>;
  readonly #caller: Caller;

  /** Made by `createDevmesh`. */
  constructor(deps: { readonly client: Client<typeof TokenService>; readonly caller: Caller }) {
    this.#client = deps.client;
    this.#caller = deps.caller;
  }

  /** Makes a token. Throws INVALID_FIELD, SCOPE_MISSING. */
  async create(input: TokenInput, options?: CallOptions): Promise<SecretToken> {
    const { name, scopes, owner = "", ttlMs } = input;
    const request = {
      name,
      owner,
      scopes: [...scopes],
      ...(ttlMs !== undefined && { ttl: durationFromMs(ttlMs) }),
    };
    const answer = await this.#caller.unary((o) => this.#client.createToken(request, o), options);
    return { token: present(answer.token, "token"), secret: answer.secret };
  }

  /** The caller's tokens (with `admin:owners` all), newest first, without their secrets. */
  async list(options?: CallOptions): Promise<Token[]> {
    return (await this.#caller.unary((o) => this.#client.listTokens({}, o), options)).tokens;
  }

  /** Ends a token at once. Throws NOT_FOUND. */
  async revoke(id: string, options?: CallOptions): Promise<Token> {
    const answer = await this.#caller.unary((o) => this.#client.revokeToken({ id }, o), options);
    return present(answer.token, "token");
  }

  /**
   * Gives a token a new secret; the old one works on for `graceMs` (default:
   * not at all). Throws NOT_FOUND, WRONG_STATE.
   */
  async rotate(
    id: string,
    rotation: { readonly graceMs?: number } = {},
    options?: CallOptions,
  ): Promise<SecretToken> {
    const { graceMs } = rotation;
    const request = { id, ...(graceMs !== undefined && { grace: durationFromMs(graceMs) }) };
    const answer = await this.#caller.unary((o) => this.#client.rotateToken(request, o), options);
    return { token: present(answer.token, "token"), secret: answer.secret };
  }

  /** Who the caller is. */
  async whoami(options?: CallOptions): Promise<Token> {
    const answer = await this.#caller.unary((o) => this.#client.whoAmI({}, o), options);
    return present(answer.token, "token");
  }

  /** A secret that opens the console once, within five minutes. */
  createLink(options?: CallOptions): Promise<CreateConsoleLinkResponse> {
    return this.#caller.unary((o) => this.#client.createConsoleLink({}, o), options);
  }

  /** Turns a link's secret into a token, once. Throws UNAUTHENTICATED. */
  async redeemLink(secret: string, options?: CallOptions): Promise<SecretToken> {
    const answer = await this.#caller.unary(
      (o) => this.#client.redeemConsoleLink({ secret }, o),
      options,
    );
    return { token: present(answer.token, "token"), secret: answer.secret };
  }
}
