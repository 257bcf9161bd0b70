/** The id under which the log and the answer know a request. */
import { type Ids, SortableIds, SystemClock } from "../runtime/index.ts";

/** What may stand as a request's id: the same as in `observeInterceptor`. */
const pattern = /^[A-Za-z0-9._:-]{1,128}$/;

/** Makes the ids of a server that was given no maker. */
export const ownIds: Ids = new SortableIds(new SystemClock());

/** The id that the caller gave, or one that is made, and from now on stands in the headers. */
export function nameRequest(headers: Headers, ids: Ids): string {
  const given = headers.get("x-request-id");
  if (given !== null && pattern.test(given)) return given;
  const made = ids.next("req");
  headers.set("x-request-id", made);
  return made;
}
