export { loadMigrations, type Migration, tooNew } from "./migrations.ts";
export {
  lockSchemas,
  type MigrationInfo,
  migratePostgres,
  openPostgres,
  type PostgresOptions,
  poolOf,
  withTransaction,
} from "./postgres.ts";
export { inTransaction, openSqlite, type SqliteOptions } from "./sqlite.ts";
