export {
  type ArchiveEntry,
  type ReadArchiveOptions,
  readArchive,
  verifyArchive,
} from "./archive-reader.ts";
export {
  type BackupBlob,
  type BackupContent,
  type BackupSection,
  writeArchive,
} from "./archive-writer.ts";
export { backupInvalid } from "./backup-invalid.ts";
export { keepBeforeMigration } from "./before-migration.ts";
export { openPostgresSnapshot } from "./dump.postgres.ts";
export { openSqliteSnapshot } from "./dump.sqlite.ts";
export { dumpParts, type Snapshot, type TablePart } from "./dump.ts";
export { PostgresLoad } from "./load.postgres.ts";
export { SqliteLoad } from "./load.sqlite.ts";
export type { LoadTarget } from "./load.ts";
export type { Manifest, SectionSummary, TableSummary } from "./manifest.ts";
export { checkNoPostgres, preparePostgres } from "./restore.postgres.ts";
export { checkNoSqlite, prepareSqlite } from "./restore.sqlite.ts";
export { notEmpty, type PreparedRestore, type RestoreSource } from "./restore.ts";
export { type Cell, decodeRow, type Row, type Table } from "./table-rows.ts";
