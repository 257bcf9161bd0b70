/** What the backend's tables mean to a backup: which stay out of it, and what is different after a restore. */

/**
 * Tables that describe the running platform and nothing of its work: runners
 * register again, links end after minutes, buckets fill by themselves, and
 * leases follow from the jobs (see `afterRestore`).
 */
export const runtimeTables: readonly string[] = [
  "agents",
  "console_links",
  "rate_buckets",
  "job_leases",
];

/** A time that is over, as both dialects take it. */
const longAgo = "'1970-01-01T00:00:00.000Z'";

/**
 * The statements that make restored rows safe to go on with, for both
 * dialects. Leases of restored jobs have ended, so that the first sweep queues
 * the jobs again while attempts are left. Their epochs go on from the time of
 * the restore: the backed-up platform and any other restore of the same backup
 * gave out lower ones or others, so that no runner that still holds such a
 * lease passes the fence. Tokens of jobs end, as they do with every lease.
 */
export function afterRestore(hasLeaseTable: boolean, nowMs: number): string[] {
  // Epochs are 32 bits on the wire: seconds fit until 2106.
  const seconds = Math.floor(nowMs / 1000);
  const now = `'${new Date(nowMs).toISOString()}'`;
  return [
    `UPDATE jobs SET epoch = CASE WHEN epoch < ${seconds} THEN ${seconds} ELSE epoch + 1 END
     WHERE status IN ('queued', 'running')`,
    ...(hasLeaseTable
      ? [
          "DELETE FROM job_leases",
          `INSERT INTO job_leases (job_id, epoch, runner, expires_at)
           SELECT id, epoch, runner, ${longAgo} FROM jobs WHERE status = 'running'`,
        ]
      : [`UPDATE jobs SET lease_expires_at = ${longAgo} WHERE status = 'running'`]),
    `UPDATE tokens SET revoked_at = ${now} WHERE job_id <> '' AND revoked_at IS NULL`,
  ];
}

/** For SQLite: what is no log is text there, and bytes in a backup. */
export const textPayloads = `
  UPDATE job_events SET payload = CAST(payload AS TEXT)
  WHERE kind <> 'log' AND typeof(payload) = 'blob'`;
