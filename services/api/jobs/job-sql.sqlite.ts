/** The SQL of the job store for SQLite, apart from its use so that plans can be tested. */
import { maxFences } from "./job-fences.ts";
import { maxPlacements } from "./job-placement.ts";
import { jobColumns } from "./job-rows.ts";

/** Jobs that have a slot of a concurrency key, as the index `jobs_key_active` has them. */
const active = `concurrency_key <> ''
  AND (status = 'running' OR (status = 'queued' AND hold = ''))`;

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
    INSERT INTO jobs (id, owner, type, status, isolation, spec, max_attempts, last_seq, created_at,
      priority, hold, available_at, queue_expires_at, concurrency_key, concurrency_limit,
      placement)
    VALUES (?1, ?2, ?3, 'queued', ?4, ?5, ?6, 1, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
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

  listOwned: `
    SELECT id FROM jobs
    WHERE id < ?1 AND type = ?3 AND status = ?4 AND owner = ?5
    ORDER BY id DESC
    LIMIT ?2`,

  /**
   * The placements with queued jobs that a runner's labels, a sorted JSON array,
   * make up: from one that is the start of some on to those with one label more.
   * Not by EXISTS: that would be planned as a join with an index made anew.
   */
  placements: `
    WITH RECURSIVE node (place, last) AS (
      SELECT '', -1
      UNION ALL
      SELECT place || value || char(10), key FROM node, json_each(?1)
      WHERE key > last AND 1 = (
        SELECT 1 FROM jobs
        WHERE status = 'queued' AND hold = ''
          AND placement >= place || value || char(10) AND placement < place || value || char(11)
        LIMIT 1)
    )
    SELECT place FROM node
    WHERE place <> '' AND 1 = (
      SELECT 1 FROM jobs WHERE status = 'queued' AND hold = '' AND placement = place LIMIT 1)
    LIMIT ${maxPlacements}`,

  /** The head of the queue of one isolation and placement. A limit that is bound would be planned anew each time. */
  head: `
    SELECT priority, id FROM jobs
    WHERE status = 'queued' AND hold = '' AND isolation = ?1 AND placement = ?2
    ORDER BY priority DESC, id
    LIMIT 1`,

  claim: `
    UPDATE jobs
    SET status = 'running', epoch = epoch + 1, attempt = attempt + 1, runner = ?2,
        started_at = ?3, queue_expires_at = NULL, last_seq = last_seq + 1,
        attempt_seq = last_seq + 1, holder = ?4
    WHERE id = ?1 AND status = 'queued'
    RETURNING ${jobColumns}`,

  leaseHolder: `
    SELECT epoch, holder, retried_epoch, retried_holder FROM jobs WHERE id = ?1`,

  putLease: `
    INSERT INTO job_leases (job_id, epoch, runner, expires_at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (job_id) DO UPDATE
    SET epoch = excluded.epoch, runner = excluded.runner, expires_at = excluded.expires_at`,

  dropLease: "DELETE FROM job_leases WHERE job_id = ?1",

  /** All leases of a heartbeat, as a JSON array of [job, epoch]. */
  renew: `
    UPDATE job_leases SET expires_at = ?2
    FROM json_each(?1)
    WHERE job_id = value ->> 0 AND epoch = value ->> 1
    RETURNING job_id, epoch,
      (SELECT cancel_requested FROM jobs WHERE id = job_id) AS cancel_requested,
      (SELECT answer FROM jobs WHERE id = job_id) AS answer`,

  /** Moves the log's end on, if it is where the caller thinks. */
  advance: `
    UPDATE jobs SET last_seq = ?4
    WHERE id = ?1 AND epoch = ?2 AND status = 'running' AND last_seq = ?3`,

  /** See Transition: the row must be as it was read. */
  move: `
    UPDATE jobs
    SET status = ?6, epoch = ?7, attempt = ?8, hold = ?9, available_at = ?10, retried_epoch = ?11,
        retried_holder = iif(?11 = epoch, holder, retried_holder),
        result = ?12, ended_at = ?13, last_seq = last_seq + 1,
        cancel_requested = max(cancel_requested, ?15 IS NOT NULL),
        cancel_by = coalesce(?15, cancel_by), cancel_detail = coalesce(?16, cancel_detail),
        cancel_at = coalesce(?17, cancel_at)
    WHERE id = ?1 AND epoch = ?2 AND status = ?3 AND last_seq = ?4 AND cancel_requested = ?5
      AND (?14 IS NULL OR EXISTS (
        SELECT * FROM job_leases WHERE job_id = ?1 AND epoch = ?2 AND expires_at <= ?14))
    RETURNING ${jobColumns}`,

  markCancel: `
    UPDATE jobs SET cancel_requested = 1, cancel_by = ?3, cancel_detail = ?4, cancel_at = ?5
    WHERE id = ?1 AND epoch = ?2 AND status = 'running' AND cancel_requested = 0
    RETURNING ${jobColumns}`,

  markAnswer: `
    UPDATE jobs SET answer_seq = ?2, answer = ?3
    WHERE id = ?1 AND status IN ('queued', 'running') AND answer_seq < ?2
    RETURNING ${jobColumns}`,

  expired: `
    SELECT job_id FROM job_leases
    WHERE expires_at <= ?1
    ORDER BY expires_at`,

  queueExpired: `
    SELECT id FROM jobs
    WHERE status = 'queued' AND queue_expires_at IS NOT NULL AND queue_expires_at <= ?1
    ORDER BY queue_expires_at
    LIMIT 500`,

  /** Jobs whose delay is over: those with a concurrency key wait for a slot of it next. */
  promote: `
    UPDATE jobs SET hold = iif(concurrency_key = '', '', 'key'), available_at = NULL
    WHERE id IN (
      SELECT id FROM jobs
      WHERE status = 'queued' AND hold = 'delay' AND available_at <= ?1
      ORDER BY available_at
      LIMIT 500)
    RETURNING id, owner, concurrency_key`,

  /** Who waits for a slot of a concurrency key, in order. */
  waiting: `
    SELECT id, concurrency_limit FROM jobs
    WHERE status = 'queued' AND hold = 'key' AND owner = ?1 AND concurrency_key = ?2
    ORDER BY priority DESC, id
    LIMIT 100`,

  taken: `
    SELECT count(*) AS taken FROM jobs
    WHERE owner = ?1 AND concurrency_key = ?2 AND ${active}`,

  giveSlot: "UPDATE jobs SET hold = '' WHERE id = ?1",

  /** The next concurrency key, after one, that jobs wait for. */
  nextKey: `
    SELECT owner, concurrency_key FROM jobs
    WHERE status = 'queued' AND hold = 'key' AND (owner, concurrency_key) > (?1, ?2)
    ORDER BY owner, concurrency_key
    LIMIT 1`,

  holders: `
    SELECT id FROM jobs
    WHERE owner = ?1 AND concurrency_key = ?2 AND ${active}
    LIMIT 10`,

  /** How many of the first 1,000 of one isolation and placement come before a job. */
  ahead: `
    SELECT count(*) AS ahead FROM (
      SELECT priority, id FROM jobs
      WHERE status = 'queued' AND hold = '' AND isolation = ?1 AND placement = ?4
      ORDER BY priority DESC, id
      LIMIT 1000
    ) AS head
    WHERE priority > ?2 OR (priority = ?2 AND id < ?3)`,

  readEvents: `
    SELECT seq, ts, kind, level, stream, message, payload FROM job_events
    WHERE job_id = ?1 AND seq >= ?2
    ORDER BY seq
    LIMIT ?3`,

  /** The runner of a lease is known while nobody has taken the job after it. See `maxFences`. */
  noteFence: `
    INSERT INTO job_fences (job_id, epoch, action, runner, count, ts)
    SELECT id, ?2, ?3, iif(epoch - ?2 <= 1, runner, ''), 1, ?4 FROM jobs
    WHERE id = ?1 AND ?2 BETWEEN 1 AND epoch
      AND (SELECT count(*) FROM job_fences AS other
        WHERE job_id = ?1 AND (other.epoch <> ?2 OR action <> ?3)) < ${maxFences}
    ON CONFLICT (job_id, epoch, action) DO UPDATE
    SET count = count + 1, ts = excluded.ts`,

  fences: `
    SELECT epoch, runner, action, count, ts FROM job_fences
    WHERE job_id = ?1
    ORDER BY epoch, action
    LIMIT ${maxFences}`,

  /** Ended jobs whose log is still there. */
  trimmable: `
    SELECT id, last_seq FROM jobs
    WHERE ended_at IS NOT NULL AND trimmed_seq = 0 AND ended_at <= ?1
    ORDER BY ended_at
    LIMIT ?2`,

  markTrimmed: "UPDATE jobs SET trimmed_seq = ?2 WHERE id = ?1 AND trimmed_seq = 0",

  logBytes: `
    SELECT coalesce(sum(length(payload)), 0) AS bytes FROM job_events
    WHERE job_id = ?1 AND seq <= ?2 AND kind = 'log'`,

  dropEvents: "DELETE FROM job_events WHERE job_id = ?1 AND seq <= ?2",

  countRunning: "SELECT count(*) AS count FROM jobs WHERE status = 'running'",

  countQueued: `
    SELECT count(*) AS count FROM jobs
    WHERE type IN ('command', 'agent') AND status = 'queued'`,

  readQueue: "SELECT paused_at, pause_detail FROM queue WHERE id = 1",

  pause: "UPDATE queue SET paused_at = ?1, pause_detail = ?2 WHERE id = 1 AND paused_at IS NULL",

  resume: "UPDATE queue SET paused_at = NULL, pause_detail = '' WHERE id = 1",
};
