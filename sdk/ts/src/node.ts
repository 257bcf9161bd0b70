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
import { createNodeSha256 } from "./node/sha256.ts";
import { createNodeTransport, type NodeConnection } from "./node/transport.ts";
import type { DevmeshOptions } from "./options.ts";

/** Where devmesh is and how to talk to it from Node. */
export interface NodeDevmeshOptions extends DevmeshOptions {
  /** Also `unix:/path/to.sock`, as inside a sandbox. */
  readonly baseUrl: string;
  /** Default: `2` (over plain TCP and Unix sockets by prior knowledge). */
  readonly httpVersion?: "1.1" | "2";
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
  const devmesh = composeDevmesh({ createSha256: createNodeSha256, ...options }, (setup) => {
    connection = createNodeTransport(setup, options.httpVersion ?? "2");
    return connection.transport;
  });
  const caller = new Caller({ timeoutMs: options.timeoutMs ?? 60_000 });
  const backups = createBackups(createClient(BackupService, devmesh.transport), caller);
  return { ...devmesh, backups, close: () => connection?.close() };
}

export {
  type ApplyReport,
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
export { type DocumentFile, type DocumentSkip, walkDocuments } from "./node/documents.ts";
export { WorkspaceError } from "./node/tree.ts";
export {
  type PackedWorkspace,
  type PackOptions,
  packWorkspace,
  uploadWorkspace,
} from "./node/workspace.ts";
export * from "./surface.ts";
