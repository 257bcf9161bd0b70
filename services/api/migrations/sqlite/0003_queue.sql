-- What decides when a job starts, leases apart from jobs, and what was fenced.

ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
-- Why a queued job may not be taken: '' | delay (until available_at) | key (its
-- concurrency key has no free slot). The queue's index has only those without.
ALTER TABLE jobs ADD COLUMN hold TEXT NOT NULL DEFAULT '' CHECK (hold IN ('', 'delay', 'key'));
ALTER TABLE jobs ADD COLUMN available_at TEXT;
ALTER TABLE jobs ADD COLUMN queue_expires_at TEXT;
ALTER TABLE jobs ADD COLUMN concurrency_key TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN concurrency_limit INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN cancel_by TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN cancel_at TEXT;
-- The last lease whose failed end led to another attempt: it may say so again.
ALTER TABLE jobs ADD COLUMN retried_epoch INTEGER NOT NULL DEFAULT 0;
-- The number of the last event that retention has removed.
ALTER TABLE jobs ADD COLUMN trimmed_seq INTEGER NOT NULL DEFAULT 0;

-- Renewed by every heartbeat: kept out of the wide rows of jobs.
CREATE TABLE job_leases (
  job_id     TEXT PRIMARY KEY,
  epoch      INTEGER NOT NULL,
  runner     TEXT NOT NULL,
  expires_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX job_leases_expiry ON job_leases (expires_at);

INSERT INTO job_leases (job_id, epoch, runner, expires_at)
SELECT id, epoch, runner, lease_expires_at FROM jobs
WHERE status = 'running' AND lease_expires_at IS NOT NULL;

DROP INDEX jobs_running;
ALTER TABLE jobs DROP COLUMN lease_expires_at;

-- In the order in which runners take jobs, for each isolation.
DROP INDEX jobs_queued;
CREATE INDEX jobs_queued ON jobs (isolation, priority DESC, id)
WHERE status = 'queued' AND hold = '';
CREATE INDEX jobs_delayed ON jobs (available_at) WHERE status = 'queued' AND hold = 'delay';
CREATE INDEX jobs_queue_expiry ON jobs (queue_expires_at)
WHERE status = 'queued' AND queue_expires_at IS NOT NULL;
-- Who waits for a slot of a key, in order; and who has one.
CREATE INDEX jobs_key_waiting ON jobs (owner, concurrency_key, priority DESC, id)
WHERE status = 'queued' AND hold = 'key';
CREATE INDEX jobs_key_active ON jobs (owner, concurrency_key)
WHERE concurrency_key <> '' AND (status = 'running' OR (status = 'queued' AND hold = ''));
CREATE INDEX jobs_running ON jobs (id) WHERE status = 'running';
CREATE INDEX jobs_owned ON jobs (owner, type, status, id);
CREATE INDEX jobs_ended ON jobs (ended_at) WHERE ended_at IS NOT NULL AND trimmed_seq = 0;

CREATE TABLE job_fences (
  job_id TEXT NOT NULL,
  epoch  INTEGER NOT NULL,
  action TEXT NOT NULL,                          -- append | finish | release | renew
  runner TEXT NOT NULL,
  count  INTEGER NOT NULL,
  ts     TEXT NOT NULL,                          -- of the last
  PRIMARY KEY (job_id, epoch, action)
) STRICT, WITHOUT ROWID;

CREATE TABLE queue (
  id           INTEGER PRIMARY KEY CHECK (id = 1),
  paused_at    TEXT,
  pause_detail TEXT NOT NULL DEFAULT ''
) STRICT;

INSERT INTO queue (id) VALUES (1);

ALTER TABLE agents ADD COLUMN draining INTEGER NOT NULL DEFAULT 0;
