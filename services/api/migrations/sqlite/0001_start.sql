-- The tables of the backend. Times are UTC text, so that they sort and people can read them.

CREATE TABLE jobs (
  id               TEXT PRIMARY KEY,
  owner            TEXT NOT NULL,
  type             TEXT NOT NULL CHECK (type IN ('command', 'agent')),
  status           TEXT NOT NULL
                   CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  isolation        INTEGER NOT NULL,             -- the least that the job accepts
  spec             TEXT NOT NULL,                -- JobSpec as JSON
  max_attempts     INTEGER NOT NULL,
  attempt          INTEGER NOT NULL DEFAULT 0,
  epoch            INTEGER NOT NULL DEFAULT 0,   -- the fence: rises with every change of hands
  runner           TEXT NOT NULL DEFAULT '',
  lease_expires_at TEXT,
  last_seq         INTEGER NOT NULL,             -- the number of the last event
  attempt_seq      INTEGER NOT NULL DEFAULT 0,   -- the number of the last RUNNING event
  cancel_requested INTEGER NOT NULL DEFAULT 0,
  cancel_detail    TEXT NOT NULL DEFAULT '',
  created_at       TEXT NOT NULL,
  started_at       TEXT,
  ended_at         TEXT,
  result           TEXT                          -- JobResult as JSON
) STRICT, WITHOUT ROWID;

-- In the order in which runners take jobs: a claim reads as many entries as it
-- takes jobs, for each isolation, however many wait.
CREATE INDEX jobs_queued ON jobs (isolation, id) WHERE status = 'queued';
CREATE INDEX jobs_running ON jobs (lease_expires_at) WHERE status = 'running';
CREATE INDEX jobs_listed ON jobs (type, status, id);

-- Clustered by job and number. Without a foreign key: the job's row is moved
-- on in the same transaction, and a look-up for each line of a log is dear.
CREATE TABLE job_events (
  job_id  TEXT NOT NULL,
  seq     INTEGER NOT NULL,
  ts      TEXT NOT NULL,
  kind    TEXT NOT NULL,                         -- log | status | note | result
  level   TEXT NOT NULL,                         -- info | warn | error
  stream  TEXT,                                  -- logs: stdout | stderr
  message TEXT NOT NULL,                         -- for people; empty for logs
  payload ANY NOT NULL,                          -- logs: the raw bytes; else JSON
  PRIMARY KEY (job_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_keys (
  owner       TEXT NOT NULL,
  key         TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  job_id      TEXT NOT NULL REFERENCES jobs (id),
  expires_at  TEXT NOT NULL,
  PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_keys_expiry ON job_keys (expires_at);

CREATE TABLE tokens (
  id          TEXT PRIMARY KEY,
  name        TEXT NOT NULL,
  secret_hash TEXT NOT NULL UNIQUE,
  scopes      TEXT NOT NULL,                     -- a JSON array
  created_at  TEXT NOT NULL,
  expires_at  TEXT,
  revoked_at  TEXT,
  job_id      TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX tokens_listed ON tokens (created_at, id) WHERE job_id = '';
CREATE INDEX tokens_of_job ON tokens (job_id) WHERE job_id <> '';

CREATE TABLE console_links (
  secret_hash TEXT PRIMARY KEY,
  expires_at  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  ts             TEXT NOT NULL,
  actor          TEXT NOT NULL,
  action         TEXT NOT NULL,
  resource       TEXT NOT NULL,
  outcome        TEXT NOT NULL,
  correlation_id TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN
  SELECT RAISE(ABORT, 'audit rows are never changed');
END;

CREATE TABLE agents (
  id           TEXT PRIMARY KEY,
  host         TEXT NOT NULL,
  version      TEXT NOT NULL,
  capacity     INTEGER NOT NULL,
  capabilities TEXT NOT NULL,                    -- Capability messages as a JSON array
  running      INTEGER NOT NULL DEFAULT 0,
  last_seen    TEXT NOT NULL
) STRICT;

CREATE INDEX agents_last_seen ON agents (last_seen);
