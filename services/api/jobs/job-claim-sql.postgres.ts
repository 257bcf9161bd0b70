/** How Postgres picks the jobs that a runner takes; the other statements are in `job-sql.postgres.ts`. */
import { maxPlacements } from "./job-placement.ts";
import { jobColumns } from "./job-rows.ts";

/** Milliseconds of a parameter from now on. An index is searched by now(), which stands still for a statement. */
export const after = (ms: string) => `clock_timestamp() + ${ms} * interval '1 millisecond'`;

type Strength = 1 | 2 | 3 | 4;

/** Jobs that runners of a strength may take. The literal is what picks their index. */
const free = (strongest: Strength) =>
  `status = 'queued' AND hold = '' AND isolation <= ${strongest}`;

/** None is taken while the queue is paused, or the delay of some job is over: that one may come first. */
const open = `(SELECT paused_at IS NULL FROM queue WHERE queue.id = 1)
        AND NOT EXISTS (
          SELECT FROM jobs AS due
          WHERE due.status = 'queued' AND due.hold = 'delay' AND due.available_at <= now())`;

/** Jobs that ask for no labels: they come off the index in order. */
const unplaced = (strongest: Strength) => `
    SELECT id AS picked_id FROM jobs
    WHERE ${free(strongest)} AND placement = '' AND ${open}
    ORDER BY priority DESC, id
    LIMIT $1
    FOR UPDATE OF jobs SKIP LOCKED`;

/**
 * Jobs of the placements in $5: the first of each are read without a lock, some
 * more than wanted for those that others take just now, and locked in order
 * until there are enough.
 */
const placed = (strongest: Strength) => `
    SELECT id AS picked_id
    FROM (
      SELECT head_id, head_priority
      FROM unnest($5::text[]) AS wanted (place)
      CROSS JOIN LATERAL (
        SELECT id AS head_id, priority AS head_priority FROM jobs
        WHERE ${free(strongest)} AND placement = place
        ORDER BY priority DESC, id
        LIMIT $1::bigint + 64
      ) AS head
      ORDER BY head_priority DESC, head_id
      LIMIT $1::bigint + 64
    ) AS best
    JOIN jobs ON id = head_id
    WHERE status = 'queued' AND hold = '' AND ${open}
    ORDER BY head_priority DESC, head_id
    LIMIT $1::bigint
    FOR UPDATE OF jobs SKIP LOCKED`;

const claim = (picked: string) => `
  WITH picked AS (${picked}
  ), claimed AS (
    UPDATE jobs
    SET status = 'running', epoch = epoch + 1, attempt = attempt + 1, runner = $2, holder = $4,
        started_at = clock_timestamp(), queue_expires_at = NULL,
        last_seq = last_seq + 1, attempt_seq = last_seq + 1
    FROM picked
    WHERE id = picked_id
    RETURNING ${jobColumns}
  ), leased AS (
    INSERT INTO job_leases (job_id, epoch, runner, expires_at)
    SELECT id, epoch, runner, ${after("$3::double precision")} FROM claimed
    ON CONFLICT (job_id) DO UPDATE
    SET epoch = excluded.epoch, runner = excluded.runner, expires_at = excluded.expires_at
  ), told AS (
    INSERT INTO job_events (job_id, seq, ts, kind, level, message, payload)
    SELECT id, last_seq, started_at, 'status', 'info',
      format('running on %s, attempt %s', runner, attempt),
      convert_to(json_build_object(
        'status', 'JOB_STATUS_RUNNING', 'attempt', attempt, 'runner', runner,
        'epoch', epoch)::text, 'UTF8')
    FROM claimed
  )
  SELECT ${jobColumns} FROM claimed ORDER BY priority DESC, id`;

/** The statements of a claim. */
export const claimSql = {
  /**
   * The placements with queued jobs that a runner's labels, sorted, make up:
   * from one that is the start of some on to those with one label more.
   */
  placements: `
    WITH RECURSIVE node (place, last) AS (
      SELECT ''::text COLLATE "C", 0::bigint
      UNION ALL
      SELECT (place || label || chr(10)) COLLATE "C", nth
      FROM node, unnest($1::text[]) WITH ORDINALITY AS own (label, nth)
      WHERE nth > last AND EXISTS (
        SELECT FROM jobs
        WHERE ${free(4)} AND placement >= (place || label || chr(10)) COLLATE "C"
          AND placement < (place || label || chr(11)) COLLATE "C")
    )
    SELECT place FROM node
    WHERE place <> '' AND EXISTS (SELECT FROM jobs WHERE ${free(4)} AND placement = place)
    LIMIT ${maxPlacements}`,

  claim1: claim(unplaced(1)),
  claim2: claim(unplaced(2)),
  claim3: claim(unplaced(3)),
  claim4: claim(unplaced(4)),

  claimPlaced1: claim(placed(1)),
  claimPlaced2: claim(placed(2)),
  claimPlaced3: claim(placed(3)),
  claimPlaced4: claim(placed(4)),
};
