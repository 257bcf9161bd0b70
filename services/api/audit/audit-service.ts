/** The handlers of `devmesh.api.v1.AuditService`. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  AuditService,
  ListAuditEventsRequest,
  VerifyAuditRequest,
} from "@devmesh/gen/devmesh/api/v1/audit_service_pb";
import { decodePageToken, encodePageToken } from "../page-token.ts";
import type { AuditLog } from "./audit-log.ts";
import type { AuditStore } from "./audit-store.ts";
import { verifyAudit } from "./audit-verifier.ts";

/** All pages are of one query: rows, the newest first. */
const auditQuery = ["audit"];

/** What the handlers need. */
export interface AuditServiceOptions {
  readonly store: AuditStore;
  readonly log: AuditLog;
}

/** Who changed what, and how it went. */
export class AuditServiceImpl implements ServiceImpl<typeof AuditService> {
  readonly #store: AuditStore;
  readonly #log: AuditLog;

  constructor({ store, log }: AuditServiceOptions) {
    this.#store = store;
    this.#log = log;
  }

  async listAuditEvents({ pageSize, pageToken }: ListAuditEventsRequest) {
    const limit = pageSize === 0 ? 50 : pageSize;
    const before = decodePageToken(auditQuery, pageToken);
    const rows = await this.#store.list(
      limit + 1,
      before === undefined ? undefined : Number(before),
    );
    const page = rows.slice(0, limit);
    const last = page.at(-1);
    return {
      events: page.map((row) => ({
        ...row,
        id: BigInt(row.id),
        // Of a row that was tampered with there may be no time that makes sense.
        time: timestampFromMs(Number.isFinite(row.timeMs) ? Math.floor(row.timeMs) : 0),
      })),
      nextPageToken:
        rows.length > limit && last !== undefined
          ? encodePageToken(auditQuery, String(last.id))
          : "",
    };
  }

  async verifyAudit({ expectedHash }: VerifyAuditRequest, { signal }: HandlerContext) {
    // What this process still holds back belongs to the chain.
    await this.#log.flush();
    const verdict = await verifyAudit(this.#store, expectedHash, signal);
    return { ...verdict, rows: BigInt(verdict.rows), brokenId: BigInt(verdict.brokenId) };
  }
}
