-- Owners of tokens, rotation, the audit's chain, settings and rate limits.

ALTER TABLE tokens ADD COLUMN owner TEXT NOT NULL DEFAULT '';
-- Tokens made before there were owners are their own: so are their jobs.
UPDATE tokens SET owner = id;
-- The secret before the last rotation, and how long it works on.
ALTER TABLE tokens ADD COLUMN old_secret_hash TEXT;
ALTER TABLE tokens ADD COLUMN old_secret_expires_at TEXT;
CREATE UNIQUE INDEX tokens_old_secret ON tokens (old_secret_hash) WHERE old_secret_hash IS NOT NULL;

-- What the token made from a link is to be. Links live for minutes: those that wait are dropped.
DELETE FROM console_links;
ALTER TABLE console_links ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE console_links ADD COLUMN scopes TEXT NOT NULL DEFAULT '[]';

-- Over the row before's hash and the row; '' for rows from before the chain.
ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';

CREATE TABLE settings (
  id      INTEGER PRIMARY KEY CHECK (id = 1),
  version INTEGER NOT NULL,
  value   TEXT NOT NULL                          -- Settings as JSON: only what was set
) STRICT;

INSERT INTO settings (id, version, value) VALUES (1, 0, '{}');

CREATE TABLE rate_buckets (
  name       TEXT PRIMARY KEY,                   -- a token's id, or method and token
  tokens     REAL NOT NULL,
  updated_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
