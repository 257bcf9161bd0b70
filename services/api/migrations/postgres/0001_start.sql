-- The tables of the backend. Ids compare by their bytes, so that they sort by time everywhere.

CREATE TABLE jobs (
  id               text COLLATE "C" PRIMARY KEY,
  owner            text NOT NULL,
  type             text NOT NULL CHECK (type IN ('command', 'agent')),
  status           text NOT NULL
                   CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  isolation        integer NOT NULL,             -- the least that the job accepts
  spec             text NOT NULL,                -- JobSpec as JSON
  max_attempts     integer NOT NULL,
  attempt          integer NOT NULL DEFAULT 0,
  epoch            bigint NOT NULL DEFAULT 0,    -- the fence: rises with every change of hands
  runner           text NOT NULL DEFAULT '',
  lease_expires_at timestamptz,
  last_seq         bigint NOT NULL,              -- the number of the last event
  attempt_seq      bigint NOT NULL DEFAULT 0,    -- the number of the last RUNNING event
  cancel_requested boolean NOT NULL DEFAULT false,
  cancel_detail    text NOT NULL DEFAULT '',
  created_at       timestamptz NOT NULL,
  started_at       timestamptz,
  ended_at         timestamptz,
  result           text                          -- JobResult as JSON
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

-- One for each strength of a runner, in the order in which it takes jobs: a
-- claim reads as many entries as it takes jobs, however many wait.
CREATE INDEX jobs_queued_1 ON jobs (id) WHERE status = 'queued' AND isolation <= 1;
CREATE INDEX jobs_queued_2 ON jobs (id) WHERE status = 'queued' AND isolation <= 2;
CREATE INDEX jobs_queued_3 ON jobs (id) WHERE status = 'queued' AND isolation <= 3;
CREATE INDEX jobs_queued_4 ON jobs (id) WHERE status = 'queued' AND isolation <= 4;
-- Neither the lease's end nor the last number is in an index: heartbeats and
-- appends stay within the page of their row.
CREATE INDEX jobs_running ON jobs (id) WHERE status = 'running';
CREATE INDEX jobs_listed ON jobs (type, status, id);

-- Without a foreign key: the job's row is moved on in the same statement, and
-- a look-up for each line of a log is dear.
CREATE TABLE job_events (
  job_id  text COLLATE "C" NOT NULL,
  seq     bigint NOT NULL,
  ts      timestamptz NOT NULL,
  kind    text NOT NULL,                         -- log | status | note | result
  level   text NOT NULL,                         -- info | warn | error
  stream  text,                                  -- logs: stdout | stderr
  message text NOT NULL,                         -- for people; empty for logs
  payload bytea NOT NULL,                        -- logs: the raw bytes; else JSON
  PRIMARY KEY (job_id, seq)
);

-- The events with their payload as text, for people.
CREATE VIEW readable_job_events AS
SELECT job_id, seq, ts, kind, level, stream, message,
  CASE WHEN kind = 'log' THEN encode(payload, 'escape') ELSE convert_from(payload, 'UTF8') END
    AS payload
FROM job_events;

CREATE TABLE job_keys (
  owner       text NOT NULL,
  key         text NOT NULL,
  fingerprint text NOT NULL,
  job_id      text COLLATE "C" NOT NULL REFERENCES jobs (id),
  expires_at  timestamptz NOT NULL,
  PRIMARY KEY (owner, key)
);

CREATE INDEX job_keys_expiry ON job_keys (expires_at);

CREATE TABLE tokens (
  id          text COLLATE "C" PRIMARY KEY,
  name        text NOT NULL,
  secret_hash text NOT NULL UNIQUE,
  scopes      text NOT NULL,                     -- a JSON array
  created_at  timestamptz NOT NULL,
  expires_at  timestamptz,
  revoked_at  timestamptz,
  job_id      text NOT NULL DEFAULT ''
);

CREATE INDEX tokens_listed ON tokens (created_at, id) WHERE job_id = '';
CREATE INDEX tokens_of_job ON tokens (job_id) WHERE job_id <> '';

CREATE TABLE console_links (
  secret_hash text PRIMARY KEY,
  expires_at  timestamptz NOT NULL
);

CREATE TABLE audit (
  id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  ts             timestamptz NOT NULL,
  actor          text NOT NULL,
  action         text NOT NULL,
  resource       text NOT NULL,
  outcome        text NOT NULL,
  correlation_id text NOT NULL
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% rows are never changed', TG_TABLE_NAME;
END
$$;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE agents (
  id           text COLLATE "C" PRIMARY KEY,
  host         text NOT NULL,
  version      text NOT NULL,
  capacity     bigint NOT NULL,
  capabilities text NOT NULL,                    -- Capability messages as a JSON array
  running      bigint NOT NULL DEFAULT 0,
  last_seen    timestamptz NOT NULL
);

CREATE INDEX agents_last_seen ON agents (last_seen);
