/** The handlers of `devmesh.api.v1.BlobService`. */
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  BlobService,
  GetBlobRequest,
  PutBlobRequest,
  StatBlobRequest,
} from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { kSubject } from "@devmesh/mesh/context";
import { invalidField } from "@devmesh/mesh/errors";
import type { BlobStore } from "./blob-store.ts";

/** Files by their content. */
export class BlobServiceImpl implements ServiceImpl<typeof BlobService> {
  readonly #store: BlobStore;

  constructor({ store }: { readonly store: BlobStore }) {
    this.#store = store;
  }

  async putBlob(requests: AsyncIterable<PutBlobRequest>, context: HandlerContext) {
    const pieces = requests[Symbol.asyncIterator]();
    try {
      const first = await pieces.next();
      if (first.done === true || first.value.sha256 === "") {
        throw invalidField("sha256", "is missing in the first piece");
      }
      const { sha256, data } = first.value;
      context.values.get(kSubject).resource = sha256;
      const { sizeBytes } = await this.#store.put(sha256, contentOf(data, pieces));
      return { sha256, sizeBytes: BigInt(sizeBytes) };
    } finally {
      await pieces.return?.();
    }
  }

  async *getBlob({ sha256 }: GetBlobRequest) {
    for await (const data of this.#store.get(sha256)) yield { data };
  }

  async statBlob({ sha256 }: StatBlobRequest) {
    const size = await this.#store.stat(sha256);
    return { exists: size !== undefined, sizeBytes: BigInt(size ?? 0) };
  }
}

async function* contentOf(first: Uint8Array, rest: AsyncIterator<PutBlobRequest>) {
  yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
    yield next.value.data;
  }
}
