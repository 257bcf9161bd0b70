/**
 * `@devmesh/sdk/node`: the SDK over HTTP/2 or a Unix socket, with folders on
 * the way in and artifacts on the way out.
 */
import type { Devmesh } from "./client.ts";
import { composeDevmesh } from "./client.ts";
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
  return { ...devmesh, close: () => connection?.close() };
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
