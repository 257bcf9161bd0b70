/** What the backend's tests share: a backend in memory, clients with any token, and its real port. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient, type ServiceImpl } from "@connectrpc/connect";
import { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { ModelService } from "@devmesh/gen/devmesh/inference/v1/model_service_pb";
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import { bearerInterceptor } from "@devmesh/mesh/interceptors";
import { type Logger, silentLogger } from "@devmesh/mesh/log";
import { type Clock, SortableIds, TestClock } from "@devmesh/mesh/runtime";
import { bindMethods, type RunningServer, serve, startServer } from "@devmesh/mesh/server";
import { createInProcessTransport } from "@devmesh/mesh/transport";
import { type BuiltApi, buildApi } from "../../services/api/app.ts";
import { type ApiConfig, readApiConfig } from "../../services/api/config.ts";

/** What a bed is made of. */
export interface BedOptions {
  readonly clock?: Clock;
  readonly config?: Partial<ApiConfig>;
  /** Default: a silent one. */
  readonly logger?: Logger;
  /** The models behind the backend. Absent: they are away. */
  readonly chat?: Partial<ServiceImpl<typeof ChatService>>;
  /** What is known of the models. Absent: nothing can be asked. */
  readonly models?: Partial<ServiceImpl<typeof ModelService>>;
}

/** A backend for one test. */
export class Bed {
  readonly api: BuiltApi;
  readonly folder: string;
  readonly clock: TestClock;
  readonly ownerSecret: string;
  /** The backend's own log. */
  readonly logger: Logger;
  #server: RunningServer | undefined;

  private constructor(
    api: BuiltApi,
    folder: string,
    clock: TestClock,
    ownerSecret: string,
    logger: Logger,
  ) {
    this.logger = logger;
    this.api = api;
    this.folder = folder;
    this.clock = clock;
    this.ownerSecret = ownerSecret;
  }

  static async open({
    config = {},
    chat,
    models: known,
    clock,
    logger = silentLogger(),
  }: BedOptions = {}): Promise<Bed> {
    const folder = await mkdtemp(join(tmpdir(), "dm-api-"));
    const testClock = new TestClock();
    const used = clock ?? testClock;
    const away = async () => {
      throw new DevmeshError("UNAVAILABLE", "there is nothing here");
    };
    const impl = chat ?? { chat: away };
    const catalogue = (known ?? {}) as ServiceImpl<typeof ModelService>;
    const served = [
      serve(ChatService, impl as ServiceImpl<typeof ChatService>),
      serve(ModelService, catalogue),
    ];
    const models = bindMethods(served, []);
    const api = await buildApi({
      config: {
        ...readApiConfig({ STORAGE_URL: "memory:", DEVMESH_DATA_DIR: folder }),
        serviceToken: "the-services-secret",
        ...config,
      },
      logger,
      clock: used,
      ids: new SortableIds(used),
      version: "0.0.0",
      mcp: createInProcessTransport({ methods: [] }),
      inference: createInProcessTransport({ methods: models }),
    });
    const { secret } = await api.tokens.createOwner();
    return new Bed(api, folder, testClock, secret, logger);
  }

  /** A client within the process. `secret` absent: the owner's; empty: none. */
  client<T extends DescService>(service: T, secret = this.ownerSecret): Client<T> {
    const interceptors = secret === "" ? [] : [bearerInterceptor(secret)];
    const { methods } = this.api;
    return createClient(service, createInProcessTransport({ methods, interceptors }));
  }

  /** Opens the public port; answers its number. */
  async listen(): Promise<number> {
    this.#server ??= await startServer({
      ...this.api,
      logger: silentLogger(),
      host: "127.0.0.1",
      port: 0,
      http2: "connect",
    });
    return this.#server.port;
  }

  /** `http://127.0.0.1:port`. */
  async url(): Promise<string> {
    return `http://127.0.0.1:${await this.listen()}`;
  }

  /** `graceMs`: how long what is under way may take to end. */
  async close(graceMs = 100): Promise<void> {
    await this.#server?.close(graceMs);
    await this.api.app.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** The reason with which a call is refused; `ok` if it is not. */
export async function reasonOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "ok";
  } catch (error) {
    return toDevmeshError(error).reason;
  }
}

/** A spec that runs `true`. */
export const trueSpec = { work: { case: "command" as const, value: { argv: ["true"] } } };
