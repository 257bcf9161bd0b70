-- What decides when a job starts, leases apart from jobs, and what was fenced.

ALTER TABLE jobs
  ADD COLUMN priority integer NOT NULL DEFAULT 0,
  -- Why a queued job may not be taken: '' | delay (until available_at) | key (its
  -- concurrency key has no free slot). The queue's indexes have only those without.
  ADD COLUMN hold text NOT NULL DEFAULT '' CHECK (hold IN ('', 'delay', 'key')),
  ADD COLUMN available_at timestamptz,
  ADD COLUMN queue_expires_at timestamptz,
  ADD COLUMN concurrency_key text NOT NULL DEFAULT '',
  ADD COLUMN concurrency_limit integer NOT NULL DEFAULT 0,
  ADD COLUMN cancel_by text NOT NULL DEFAULT '',
  ADD COLUMN cancel_at timestamptz,
  -- The last lease whose failed end led to another attempt: it may say so again.
  ADD COLUMN retried_epoch bigint NOT NULL DEFAULT 0,
  -- The number of the last event that retention has removed.
  ADD COLUMN trimmed_seq bigint NOT NULL DEFAULT 0;

-- Renewed by every heartbeat: kept out of the wide rows of jobs.
CREATE TABLE job_leases (
  job_id     text COLLATE "C" PRIMARY KEY,
  epoch      bigint NOT NULL,
  runner     text NOT NULL,
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

INSERT INTO job_leases (job_id, epoch, runner, expires_at)
SELECT id, epoch, runner, lease_expires_at FROM jobs
WHERE status = 'running' AND lease_expires_at IS NOT NULL;

ALTER TABLE jobs DROP COLUMN lease_expires_at;

-- One for each strength of a runner, in the order in which it takes jobs.
DROP INDEX jobs_queued_1, jobs_queued_2, jobs_queued_3, jobs_queued_4;
CREATE INDEX jobs_queued_1 ON jobs (priority DESC, id)
WHERE status = 'queued' AND hold = '' AND isolation <= 1;
CREATE INDEX jobs_queued_2 ON jobs (priority DESC, id)
WHERE status = 'queued' AND hold = '' AND isolation <= 2;
CREATE INDEX jobs_queued_3 ON jobs (priority DESC, id)
WHERE status = 'queued' AND hold = '' AND isolation <= 3;
CREATE INDEX jobs_queued_4 ON jobs (priority DESC, id)
WHERE status = 'queued' AND hold = '' AND isolation <= 4;
CREATE INDEX jobs_delayed ON jobs (available_at) WHERE status = 'queued' AND hold = 'delay';
CREATE INDEX jobs_queue_expiry ON jobs (queue_expires_at)
WHERE status = 'queued' AND queue_expires_at IS NOT NULL;
-- Who waits for a slot of a key, in order; and who has one.
CREATE INDEX jobs_key_waiting ON jobs (owner, concurrency_key, priority DESC, id)
WHERE status = 'queued' AND hold = 'key';
CREATE INDEX jobs_key_active ON jobs (owner, concurrency_key)
WHERE concurrency_key <> '' AND (status = 'running' OR (status = 'queued' AND hold = ''));
CREATE INDEX jobs_owned ON jobs (owner, type, status, id);
CREATE INDEX jobs_ended ON jobs (ended_at) WHERE ended_at IS NOT NULL AND trimmed_seq = 0;

CREATE TABLE job_fences (
  job_id text COLLATE "C" NOT NULL,
  epoch  bigint NOT NULL,
  action text NOT NULL,                          -- append | finish | release | renew
  runner text NOT NULL,
  count  bigint NOT NULL,
  ts     timestamptz NOT NULL,                   -- of the last
  PRIMARY KEY (job_id, epoch, action)
);

CREATE TABLE queue (
  id           integer PRIMARY KEY CHECK (id = 1),
  paused_at    timestamptz,
  pause_detail text NOT NULL DEFAULT ''
);

INSERT INTO queue (id) VALUES (1);

ALTER TABLE agents ADD COLUMN draining boolean NOT NULL DEFAULT false;
