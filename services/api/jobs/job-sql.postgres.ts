/** The SQL of the job store for Postgres, apart from its use so that plans can be tested. */
import { after, claimSql } from "./job-claim-sql.postgres.ts";
import { maxFences } from "./job-fences.ts";
import { jobColumns } from "./job-rows.ts";

/** The channel on which ids of changed jobs are told, after their change has committed. */
export const jobChannel = "devmesh_api_jobs";

/** Jobs that have a slot of a concurrency key, as the index `jobs_key_active` has them. */
const active = `concurrency_key <> ''
      AND (status = 'running' OR (status = 'queued' AND hold = ''))`;

/** Every statement of the store. */
export const jobSql = {
  /** No row: the key is there; see `findKey`. A key that is past its end is replaced. */
  accept: `
    WITH key AS (
      INSERT INTO job_keys (owner, key, fingerprint, job_id, expires_at)
      SELECT $2, $7, $8, $1, ${after("$9::double precision")}
      WHERE $7::text IS NOT NULL
      ON CONFLICT (owner, key) DO UPDATE
      SET fingerprint = excluded.fingerprint, job_id = excluded.job_id,
          expires_at = excluded.expires_at
      WHERE job_keys.expires_at <= clock_timestamp()
      RETURNING job_id
    ), job AS (
      INSERT INTO jobs
        (id, owner, type, status, isolation, spec, max_attempts, last_seq, created_at, priority,
         hold, available_at, queue_expires_at, concurrency_key, concurrency_limit, placement)
      SELECT $1, $2, $3, 'queued', $4, $5, $6, 1, clock_timestamp(), $12, $13,
        ${after("$14::double precision")}, ${after("$15::double precision")}, $16, $17, $18
      WHERE $7::text IS NULL OR EXISTS (SELECT FROM key)
      RETURNING ${jobColumns}
    ), told AS (
      INSERT INTO job_events (job_id, seq, ts, kind, level, message, payload)
      SELECT id, 1, created_at, 'status', 'info', $10, $11 FROM job
    )
    SELECT ${jobColumns} FROM job`,

  findKey: `
    SELECT job_id, fingerprint FROM job_keys
    WHERE owner = $1 AND key = $2 AND expires_at > clock_timestamp()`,

  dropKeys: "DELETE FROM job_keys WHERE expires_at <= now()",

  find: `SELECT ${jobColumns} FROM jobs WHERE id = $1`,

  listAll: `
    SELECT ${jobColumns} FROM jobs
    WHERE id < $1
    ORDER BY id DESC
    LIMIT $2`,

  /** The bounds are those of the index: nothing else gives this order. */
  listSome: `
    SELECT ${jobColumns}
    FROM unnest($3::text[], $4::text[]) AS wanted (wanted_type, wanted_status)
    CROSS JOIN LATERAL (
      SELECT * FROM jobs
      WHERE (type, status, id) >= (wanted_type, wanted_status, '')
        AND (type, status, id) < (wanted_type, wanted_status, $1)
      ORDER BY type DESC, status DESC, id DESC
      LIMIT $2
    ) AS job
    ORDER BY id DESC
    LIMIT $2`,

  listOwned: `
    SELECT ${jobColumns}
    FROM unnest($3::text[], $4::text[]) AS wanted (wanted_type, wanted_status)
    CROSS JOIN LATERAL (
      SELECT * FROM jobs
      WHERE (owner, type, status, id) >= ($5, wanted_type, wanted_status, '')
        AND (owner, type, status, id) < ($5, wanted_type, wanted_status, $1)
      ORDER BY owner DESC, type DESC, status DESC, id DESC
      LIMIT $2
    ) AS job
    ORDER BY id DESC
    LIMIT $2`,

  ...claimSql,

  /** Jobs whose delay is over: those with a concurrency key wait for a slot of it next. */
  promote: `
    WITH due AS (
      SELECT id AS due_id FROM jobs
      WHERE status = 'queued' AND hold = 'delay' AND available_at <= now()
      ORDER BY available_at
      LIMIT 500
      FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs
    SET hold = CASE WHEN concurrency_key = '' THEN '' ELSE 'key' END, available_at = NULL
    FROM due
    WHERE id = due_id
    RETURNING owner, concurrency_key`,

  /** Held until the transaction's end: one fill of a key at a time. */
  lockKey: "SELECT pg_advisory_xact_lock(hashtextextended($1::text || chr(1) || $2::text, 0))",

  /**
   * Gives the free slots of a key to those that wait for one, in order, until
   * one sees none free. Sees what was committed before the key was locked.
   */
  fill: `
    WITH waiting AS (
      SELECT id AS waiting_id, concurrency_limit AS slots,
        row_number() OVER (ORDER BY priority DESC, id) AS place
      FROM (
        SELECT id, priority, concurrency_limit FROM jobs
        WHERE status = 'queued' AND hold = 'key' AND owner = $1 AND concurrency_key = $2
        ORDER BY priority DESC, id
        LIMIT 100
      ) AS first
    ), taken AS (
      SELECT count(*) AS taken FROM jobs
      WHERE owner = $1 AND concurrency_key = $2 AND ${active}
    ), fitting AS (
      SELECT waiting_id, bool_and(taken + place <= slots) OVER (ORDER BY place) AS fits
      FROM waiting, taken
    )
    UPDATE jobs SET hold = ''
    FROM fitting
    WHERE fits AND id = waiting_id AND status = 'queued' AND hold = 'key'
    RETURNING id`,

  /** Concurrency keys with a free slot for the first that waits: a skip over the keys, then a count. */
  fillable: `
    WITH RECURSIVE keys AS (
      (
        SELECT owner, concurrency_key, concurrency_limit FROM jobs
        WHERE status = 'queued' AND hold = 'key'
        ORDER BY owner, concurrency_key, priority DESC, id
        LIMIT 1
      )
      UNION ALL
      SELECT next.owner, next.concurrency_key, next.concurrency_limit
      FROM keys
      CROSS JOIN LATERAL (
        SELECT owner, concurrency_key, concurrency_limit FROM jobs
        WHERE status = 'queued' AND hold = 'key'
          AND (owner, concurrency_key) > (keys.owner, keys.concurrency_key)
        ORDER BY owner, concurrency_key, priority DESC, id
        LIMIT 1
      ) AS next
    )
    SELECT owner, concurrency_key FROM keys
    WHERE concurrency_limit > (
      SELECT count(*) FROM jobs
      WHERE jobs.owner = keys.owner AND jobs.concurrency_key = keys.concurrency_key
        AND ${active.replaceAll("concurrency_key <>", "jobs.concurrency_key <>")})`,

  holders: `
    SELECT id FROM jobs
    WHERE owner = $1 AND concurrency_key = $2 AND ${active}
    LIMIT 10`,

  /** How many of the first 1,000 of each placement come before a job. */
  ahead: `
    SELECT least(1000, count(*)) AS ahead
    FROM unnest($3::text[]) AS wanted (place)
    CROSS JOIN LATERAL (
      SELECT priority, id FROM jobs
      WHERE status = 'queued' AND hold = '' AND isolation <= 4 AND placement = place
      ORDER BY priority DESC, id
      LIMIT 1000
    ) AS head
    WHERE priority > $1 OR (priority = $1 AND id < $2)`,

  leaseHolder: "SELECT epoch, holder, retried_epoch, retried_holder FROM jobs WHERE id = $1",

  /** Locks in the order of ids, so that two renewals never wait for each other. */
  renew: `
    WITH held AS (
      SELECT job_id AS held_id
      FROM job_leases
      JOIN unnest($1::text[], $2::bigint[]) AS wanted (wanted_id, wanted_epoch)
        ON job_id = wanted_id AND epoch = wanted_epoch
      ORDER BY job_id
      FOR UPDATE OF job_leases
    )
    UPDATE job_leases SET expires_at = ${after("$3::double precision")}
    FROM held
    WHERE job_id = held_id
    RETURNING job_id AS id, epoch,
      (SELECT cancel_requested FROM jobs WHERE jobs.id = job_id) AS cancel_requested,
      (SELECT answer FROM jobs WHERE jobs.id = job_id) AS answer`,

  /** Moves the log's end on, if it is where the caller thinks, and adds the events. */
  append: `
    WITH moved AS (
      UPDATE jobs SET last_seq = $4
      WHERE id = $1 AND epoch = $2 AND status = 'running' AND last_seq = $3
      RETURNING id, clock_timestamp() AS ts
    ), added AS (
      INSERT INTO job_events (job_id, seq, ts, kind, level, stream, message, payload)
      SELECT id, seq, ts, kind, level, stream, message,
        substr($5::bytea, payload_start, payload_bytes)
      FROM moved, unnest(
        $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::int[], $12::int[]
      ) AS event (seq, kind, level, stream, message, payload_start, payload_bytes)
    )
    SELECT id FROM moved`,

  /** See Transition: the row must be as it was read, and the lease past its end where that is asked. */
  move: `
    WITH over AS (
      SELECT FROM job_leases
      WHERE $14::boolean AND job_id = $1 AND epoch = $2 AND expires_at <= clock_timestamp()
      FOR UPDATE
    ), moved AS (
      UPDATE jobs
      SET status = $6, epoch = $7, attempt = $8, hold = $9,
          available_at = ${after("$10::double precision")}, retried_epoch = $11, result = $12,
          retried_holder = CASE WHEN epoch = $11 THEN holder ELSE retried_holder END,
          ended_at = CASE WHEN $12::text IS NULL THEN NULL ELSE clock_timestamp() END,
          last_seq = last_seq + 1, cancel_requested = cancel_requested OR $13::text IS NOT NULL,
          cancel_by = coalesce($13, cancel_by), cancel_detail = coalesce($15, cancel_detail),
          cancel_at = coalesce($16, cancel_at)
      WHERE id = $1 AND epoch = $2 AND status = $3 AND last_seq = $4 AND cancel_requested = $5
        AND (NOT $14::boolean OR EXISTS (SELECT FROM over))
      RETURNING ${jobColumns}
    ), released AS (
      DELETE FROM job_leases USING moved WHERE job_id = id
    ), told AS (
      INSERT INTO job_events (job_id, seq, ts, kind, level, message, payload)
      SELECT id, last_seq, coalesce(ended_at, clock_timestamp()), $17, $18, $19, $20 FROM moved
    )
    SELECT ${jobColumns} FROM moved`,

  markCancel: `
    WITH marked AS (
      UPDATE jobs
      SET cancel_requested = true, cancel_by = $3, cancel_detail = $4,
          cancel_at = clock_timestamp()
      WHERE id = $1 AND epoch = $2 AND status = 'running' AND NOT cancel_requested
      RETURNING ${jobColumns}
    )
    SELECT ${jobColumns} FROM marked`,

  markAnswer: `
    WITH marked AS (
      UPDATE jobs SET answer_seq = $2, answer = $3
      WHERE id = $1 AND status IN ('queued', 'running') AND answer_seq < $2
      RETURNING ${jobColumns}
    )
    SELECT ${jobColumns} FROM marked`,

  /** One for many changes: each that commits takes a lock which all of the server's databases share. */
  tell: `SELECT pg_notify('${jobChannel}', told) FROM unnest($1::text[]) AS told`,

  now: "SELECT clock_timestamp() AS now",

  /** The leases are few: as many as run, never as many as wait. */
  expired: `
    SELECT ${jobColumns} FROM jobs
    WHERE id = ANY (ARRAY (SELECT job_id FROM job_leases WHERE expires_at <= now()))
    ORDER BY id`,

  queueExpired: `
    SELECT ${jobColumns} FROM jobs
    WHERE status = 'queued' AND queue_expires_at IS NOT NULL AND queue_expires_at <= now()
    ORDER BY queue_expires_at
    LIMIT 500`,

  readEvents: `
    SELECT seq, ts, kind, level, stream, message, payload
    FROM (
      SELECT *, sum(octet_length(payload)) OVER (ORDER BY seq) AS bytes,
        row_number() OVER (ORDER BY seq) AS place
      FROM (
        SELECT * FROM job_events
        WHERE job_id = $1 AND seq >= $2
        ORDER BY seq
        LIMIT $3
      ) AS next
    ) AS page
    WHERE bytes <= $4 OR place = 1
    ORDER BY seq`,

  /** The runner of a lease is known while nobody has taken the job after it. See `maxFences`. */
  noteFence: `
    INSERT INTO job_fences (job_id, epoch, action, runner, count, ts)
    SELECT id, $2::bigint, $3, CASE WHEN epoch - $2::bigint <= 1 THEN runner ELSE '' END, 1,
      clock_timestamp()
    FROM jobs
    WHERE id = $1 AND $2::bigint BETWEEN 1 AND epoch
      AND (SELECT count(*) FROM job_fences AS other
        WHERE job_id = $1 AND (other.epoch <> $2::bigint OR action <> $3)) < ${maxFences}
    ON CONFLICT (job_id, epoch, action) DO UPDATE
    SET count = job_fences.count + 1, ts = excluded.ts`,

  fences: `
    SELECT epoch, runner, action, count, ts FROM job_fences
    WHERE job_id = $1
    ORDER BY epoch, action COLLATE "C"
    LIMIT ${maxFences}`,

  /** Ended jobs whose log is still there. */
  trimmable: `
    SELECT id, last_seq FROM jobs
    WHERE ended_at IS NOT NULL AND trimmed_seq = 0
      AND ended_at <= now() - $1::double precision * interval '1 millisecond'
    ORDER BY ended_at
    LIMIT $2`,

  /** The last event that goes becomes the one that stands for all. */
  trim: `
    WITH marked AS (
      UPDATE jobs SET trimmed_seq = $2 WHERE id = $1 AND trimmed_seq = 0
      RETURNING id
    ), sized AS (
      SELECT coalesce(sum(octet_length(payload)), 0) AS bytes
      FROM job_events
      WHERE job_id = $1 AND seq <= $2 AND kind = 'log'
    ), dropped AS (
      DELETE FROM job_events USING marked WHERE job_id = $1 AND seq < $2
    ), turned AS (
      UPDATE job_events
      SET kind = 'trim', level = 'info', stream = NULL, message = $4, ts = clock_timestamp(),
          payload = convert_to(json_build_object(
            'firstSeq', 1, 'logBytes', bytes::text, 'detail', $3::text)::text, 'UTF8')
      FROM marked, sized
      WHERE job_id = $1 AND seq = $2
    )
    SELECT id FROM marked`,

  /** Each count is of an index that has just these jobs. */
  stats: `
    SELECT
      (SELECT count(*) FROM jobs WHERE status = 'queued' AND hold = '' AND isolation <= 4)
        + (SELECT count(*) FROM jobs WHERE status = 'queued' AND hold = 'delay')
        + (SELECT count(*) FROM jobs WHERE status = 'queued' AND hold = 'key') AS queued,
      (SELECT count(*) FROM jobs WHERE status = 'running') AS running`,

  readQueue: "SELECT paused_at, pause_detail FROM queue WHERE id = 1",

  pause: `
    UPDATE queue SET paused_at = clock_timestamp(), pause_detail = $1
    WHERE id = 1 AND paused_at IS NULL`,

  resume: "UPDATE queue SET paused_at = NULL, pause_detail = '' WHERE id = 1",

  ping: "SELECT 1 FROM queue",
};
