/** The handlers of `devmesh.api.v1.AuditService`. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type {
  AuditService,
  ListAuditEventsRequest,
} from "@devmesh/gen/devmesh/api/v1/audit_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { AuditStore } from "./audit-store.ts";

/** Who changed what, and how it went. */
export class AuditServiceImpl implements ServiceImpl<typeof AuditService> {
  readonly #store: AuditStore;

  constructor({ store }: { readonly store: AuditStore }) {
    this.#store = store;
  }

  async listAuditEvents({ pageSize, pageToken }: ListAuditEventsRequest) {
    const limit = pageSize === 0 ? 50 : pageSize;
    const rows = await this.#store.list(limit + 1, beforeId(pageToken));
    const page = rows.slice(0, limit);
    const last = page.at(-1);
    return {
      events: page.map((row) => ({
        ...row,
        id: BigInt(row.id),
        time: timestampFromMs(row.timeMs),
      })),
      nextPageToken: rows.length > limit && last !== undefined ? String(last.id) : "",
    };
  }

  async verifyAudit(): Promise<never> {
    throw new DevmeshError("UNIMPLEMENTED", "not served yet");
  }
}

function beforeId(token: string): number | undefined {
  if (token === "") return undefined;
  if (/^\d{1,15}$/.test(token)) return Number(token);
  throw new DevmeshError("INVALID_PAGE_TOKEN", "pageToken: is not one of this server's", {
    metadata: { field: "pageToken" },
  });
}
