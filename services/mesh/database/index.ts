export { loadMigrations, type Migration } from "./migrations.ts";
export { openPostgres, type PostgresOptions, withTransaction } from "./postgres.ts";
export { inTransaction, openSqlite, type SqliteOptions } from "./sqlite.ts";
