/** What says that a disk is full, whoever says it: the system, SQLite or Postgres. */
import { DevmeshError } from "./devmesh-error.ts";

/** `ENOSPC` and `EDQUOT` of the system; 53100 is Postgres' `disk_full`. */
const codes: readonly unknown[] = ["ENOSPC", "EDQUOT", "53100"];

/** SQLITE_FULL. */
const sqliteFull = 13;

/** The refusal of what there is no room for; undefined where that is not what the error says. */
export function noSpaceError(error: unknown): DevmeshError | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, errcode } = error as { readonly code?: unknown; readonly errcode?: unknown };
  if (!codes.includes(code) && errcode !== sqliteFull) return undefined;
  const text = "there is no room left where devmesh keeps its data: free some, then try again";
  return new DevmeshError("UNAVAILABLE", text, { cause: error });
}
