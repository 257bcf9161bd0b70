/** The SQL of the job store for SQLite, apart from its use so that plans can be tested. */
import { jobColumns } from "./job-rows.ts";

/** Every statement of the store. Parameters are numbered in the order in which they are bound. */
export const jobSql = {
  findKey: `
    SELECT job_id, fingerprint FROM job_keys
    WHERE owner = ?1 AND key = ?2 AND expires_at > ?3`,

  /** Replaces a key that is past its end. */
  putKey: `
    INSERT INTO job_keys (owner, key, fingerprint, job_id, expires_at)
    VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (owner, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, job_id = excluded.job_id,
        expires_at = excluded.expires_at`,

  dropKeys: "DELETE FROM job_keys WHERE expires_at <= ?1",

  insertJob: `
    INSERT INTO jobs (id, owner, type, status, isolation, spec, max_attempts, last_seq, created_at)
    VALUES (?1, ?2, ?3, 'queued', ?4, ?5, ?6, 1, ?7)
    RETURNING ${jobColumns}`,

  insertEvent: `
    INSERT INTO job_events (job_id, seq, ts, kind, level, stream, message, payload)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)`,

  find: `SELECT ${jobColumns} FROM jobs WHERE id = ?1`,

  listAll: `
    SELECT id FROM jobs
    WHERE id < ?1
    ORDER BY id DESC
    LIMIT ?2`,

  listSome: `
    SELECT id FROM jobs
    WHERE id < ?1 AND type = ?3 AND status = ?4
    ORDER BY id DESC
    LIMIT ?2`,

  /** The head of the queue of one isolation. A limit that is bound would be planned anew each time. */
  oldest: `
    SELECT id FROM jobs
    WHERE status = 'queued' AND isolation = ?1
    ORDER BY id
    LIMIT 1`,

  claim: `
    UPDATE jobs
    SET status = 'running', epoch = epoch + 1, attempt = attempt + 1, runner = ?2,
        started_at = ?3, lease_expires_at = ?4, last_seq = last_seq + 1, attempt_seq = last_seq + 1
    WHERE id = ?1 AND status = 'queued'
    RETURNING ${jobColumns}`,

  renew: `
    UPDATE jobs SET lease_expires_at = ?3
    WHERE id = ?1 AND epoch = ?2 AND status = 'running'
    RETURNING cancel_requested`,

  /** Moves the log's end on, if it is where the caller thinks. */
  advance: `
    UPDATE jobs SET last_seq = ?4
    WHERE id = ?1 AND epoch = ?2 AND status = 'running' AND last_seq = ?3`,

  /** See Transition: the row must be as it was read. */
  move: `
    UPDATE jobs
    SET status = ?6, epoch = ?7, attempt = ?8, cancel_requested = ?9, result = ?10,
        ended_at = ?11, last_seq = last_seq + 1, lease_expires_at = NULL
    WHERE id = ?1 AND epoch = ?2 AND status = ?3 AND last_seq = ?4 AND cancel_requested = ?5
      AND (?12 IS NULL OR lease_expires_at <= ?12)
    RETURNING ${jobColumns}`,

  markCancel: `
    UPDATE jobs SET cancel_requested = 1, cancel_detail = ?3
    WHERE id = ?1 AND epoch = ?2 AND status = 'running' AND cancel_requested = 0
    RETURNING ${jobColumns}`,

  expired: `
    SELECT ${jobColumns} FROM jobs
    WHERE status = 'running' AND lease_expires_at <= ?1
    ORDER BY lease_expires_at`,

  readEvents: `
    SELECT seq, ts, kind, level, stream, message, payload FROM job_events
    WHERE job_id = ?1 AND seq >= ?2
    ORDER BY seq
    LIMIT ?3`,

  stats: `
    SELECT
      (SELECT count(*) FROM jobs WHERE status = 'queued') AS queued,
      (SELECT count(*) FROM jobs WHERE status = 'running') AS running`,
};
