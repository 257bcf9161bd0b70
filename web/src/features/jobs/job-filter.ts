/** Owns the list's filter as it stands in the address. */
import { type JobFilter, type JobStatusName, jobStatusNames } from "@devmesh/sdk";

/** What of the list is shown. */
export interface ListedJobs {
  readonly filter: JobFilter;
  /** Empty: the newest page. */
  readonly pageToken: string;
}

/** Reads `?status=failed&type=agent&page=…`; what is not known is left out. */
export function readFilter(query: URLSearchParams): ListedJobs {
  const statuses = query.getAll("status").filter(isStatus);
  const type = query.get("type");
  return {
    filter: {
      statuses,
      ...((type === "command" || type === "agent") && { type }),
    },
    pageToken: query.get("page") ?? "",
  };
}

function isStatus(name: string): name is JobStatusName {
  return jobStatusNames.some((known) => known === name);
}
