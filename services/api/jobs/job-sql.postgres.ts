/** The SQL of the job store for Postgres, apart from its use so that plans can be tested. */
import { jobColumns } from "./job-rows.ts";

/** The channel on which ids of changed jobs are told, when their change commits. */
export const jobChannel = "devmesh_api_jobs";

const notify = `pg_notify('${jobChannel}', id)`;

/** Milliseconds of a parameter from now on. */
const after = (ms: string) => `clock_timestamp() + ${ms} * interval '1 millisecond'`;

/** A claim by a runner of this strength: the literal is what picks its index. */
const claim = (strongest: 1 | 2 | 3 | 4) => `
  WITH picked AS (
    SELECT id AS picked_id FROM jobs
    WHERE status = 'queued' AND isolation <= ${strongest}
    ORDER BY id
    LIMIT $1
    FOR UPDATE SKIP LOCKED
  ), claimed AS (
    UPDATE jobs
    SET status = 'running', epoch = epoch + 1, attempt = attempt + 1, runner = $2,
        started_at = clock_timestamp(), lease_expires_at = ${after("$3::double precision")},
        last_seq = last_seq + 1, attempt_seq = last_seq + 1
    FROM picked
    WHERE id = picked_id
    RETURNING ${jobColumns}
  ), told AS (
    INSERT INTO job_events (job_id, seq, ts, kind, level, message, payload)
    SELECT id, last_seq, started_at, 'status', 'info',
      format('running on %s, attempt %s', runner, attempt),
      convert_to(json_build_object(
        'status', 'JOB_STATUS_RUNNING', 'attempt', attempt, 'runner', runner)::text, 'UTF8')
    FROM claimed
  )
  SELECT ${jobColumns}, ${notify} FROM claimed ORDER BY id`;

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
        (id, owner, type, status, isolation, spec, max_attempts, last_seq, created_at)
      SELECT $1, $2, $3, 'queued', $4, $5, $6, 1, clock_timestamp()
      WHERE $7::text IS NULL OR EXISTS (SELECT FROM key)
      RETURNING ${jobColumns}
    ), told AS (
      INSERT INTO job_events (job_id, seq, ts, kind, level, message, payload)
      SELECT id, 1, created_at, 'status', 'info', $10, $11 FROM job
    )
    SELECT ${jobColumns}, ${notify} FROM job`,

  findKey: `
    SELECT job_id, fingerprint FROM job_keys
    WHERE owner = $1 AND key = $2 AND expires_at > clock_timestamp()`,

  dropKeys: "DELETE FROM job_keys WHERE expires_at <= clock_timestamp()",

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

  claim1: claim(1),
  claim2: claim(2),
  claim3: claim(3),
  claim4: claim(4),

  /** Locks in the order of ids, so that two renewals never wait for each other. */
  renew: `
    WITH held AS (
      SELECT id AS held_id, epoch AS held_epoch
      FROM jobs
      JOIN unnest($1::text[], $2::bigint[]) AS wanted (wanted_id, wanted_epoch)
        ON id = wanted_id AND epoch = wanted_epoch
      WHERE status = 'running'
      ORDER BY id
      FOR UPDATE OF jobs
    )
    UPDATE jobs SET lease_expires_at = ${after("$3::double precision")}
    FROM held
    WHERE id = held_id AND epoch = held_epoch AND status = 'running'
    RETURNING id, epoch, cancel_requested`,

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
    SELECT ${notify} FROM moved`,

  /** See Transition: the row must be as it was read. */
  move: `
    WITH moved AS (
      UPDATE jobs
      SET status = $6, epoch = $7, attempt = $8, cancel_requested = $9, result = $10,
          ended_at = CASE WHEN $10::text IS NULL THEN NULL ELSE clock_timestamp() END,
          last_seq = last_seq + 1, lease_expires_at = NULL
      WHERE id = $1 AND epoch = $2 AND status = $3 AND last_seq = $4 AND cancel_requested = $5
        AND (NOT $11::boolean OR lease_expires_at <= clock_timestamp())
      RETURNING ${jobColumns}
    ), told AS (
      INSERT INTO job_events (job_id, seq, ts, kind, level, message, payload)
      SELECT id, last_seq, coalesce(ended_at, clock_timestamp()), $12, $13, $14, $15 FROM moved
    )
    SELECT ${jobColumns}, ${notify} FROM moved`,

  markCancel: `
    WITH marked AS (
      UPDATE jobs SET cancel_requested = true, cancel_detail = $3
      WHERE id = $1 AND epoch = $2 AND status = 'running' AND NOT cancel_requested
      RETURNING ${jobColumns}
    )
    SELECT ${jobColumns}, ${notify} FROM marked`,

  expired: `
    SELECT ${jobColumns} FROM jobs
    WHERE status = 'running' AND lease_expires_at <= now()
    ORDER BY id`,

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

  stats: `
    SELECT
      (SELECT count(*) FROM jobs WHERE status = 'queued' AND isolation <= 4) AS queued,
      (SELECT count(*) FROM jobs WHERE status = 'running') AS running`,

  ping: "SELECT 1 FROM jobs LIMIT 1",
};
