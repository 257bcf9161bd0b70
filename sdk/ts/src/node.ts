/**
 * `@devmesh/sdk/node`: the SDK over HTTP/2 or a Unix socket, with folders on
 * the way in and artifacts on the way out.
 */
import { createClient } from "@connectrpc/connect";
import { Caller } from "./caller.ts";
import type { Devmesh } from "./client.ts";
import { composeDevmesh } from "./client.ts";
import { BackupService } from "./gen/devmesh/api/v1/backup_service_pb.js";
import { type Backups, createBackups } from "./node/backups.ts";
import { createNodeGet } from "./node/http-get.ts";
import { createNodeSha256 } from "./node/sha256.ts";
import { createNodeTransport, type NodeConnection } from "./node/transport.ts";
import type { DevmeshOptions, TransportSetup } from "./options.ts";

/** Where devmesh is and how to talk to it from Node. */
export interface NodeDevmeshOptions extends DevmeshOptions {
  /** Also `unix:/path/to.sock`, as inside a sandbox. */
  readonly baseUrl: string;
  /** Default: `2` (over plain TCP and Unix sockets by prior knowledge). */
  readonly httpVersion?: "1.1" | "2";
  /**
   * How often an HTTP/2 connection is asked whether its other end is still
   * there, in milliseconds. Default: 20,000.
   */
  readonly pingIntervalMs?: number;
}

/** A client that holds a connection. */
export interface NodeDevmesh extends Devmesh {
  readonly backups: Backups;
  /** Ends the connection and with it every call. An idle one does not keep the process alive. */
  close(): void;
}

/** Makes a client for Node. Throws `DevmeshConfigError` on unsafe settings. */
export function createDevmesh(options: NodeDevmeshOptions): NodeDevmesh {
  let connection: NodeConnection | undefined;
  const { httpVersion = "2", pingIntervalMs = 20_000 } = options;
  const connect = (setup: TransportSetup) => {
    connection = createNodeTransport(setup, { httpVersion, pingIntervalMs });
    return connection.transport;
  };
  const withSha256 = { createSha256: createNodeSha256, ...options };
  const devmesh = composeDevmesh(withSha256, connect, createNodeGet);
  const caller = new Caller({ timeoutMs: options.timeoutMs ?? 60_000 });
  const backups = createBackups(createClient(BackupService, devmesh.transport), caller);
  return { ...devmesh, backups, close: () => connection?.close() };
}

export {
  type ApplyOptions,
  type ApplyReport,
  applyChanges,
  type ChangesReport,
  type DownloadedArtifact,
  downloadArtifacts,
  unpackArtifact,
} from "./node/artifacts.ts";
export {
  BackupError,
  type BackupReport,
  type Backups,
  type BackupTable,
  downloadBackup,
  verifyBackup,
} from "./node/backups.ts";
export { WorkspaceConflictError } from "./node/conflicts.ts";
export { type DocumentFile, type DocumentSkip, walkDocuments } from "./node/documents.ts";
export { WorkspaceError } from "./node/tree.ts";
export {
  type PackedWorkspace,
  type PackOptions,
  packWorkspace,
  uploadWorkspace,
} from "./node/workspace.ts";
export * from "./surface.ts";
