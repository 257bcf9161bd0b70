-- Owners of tokens, rotation, the audit's chain, settings and rate limits.

ALTER TABLE tokens
  ADD COLUMN owner text NOT NULL DEFAULT '',
  -- The secret before the last rotation, and how long it works on.
  ADD COLUMN old_secret_hash text,
  ADD COLUMN old_secret_expires_at timestamptz;
-- Tokens made before there were owners are their own: so are their jobs.
UPDATE tokens SET owner = id;
CREATE UNIQUE INDEX tokens_old_secret ON tokens (old_secret_hash) WHERE old_secret_hash IS NOT NULL;

-- What the token made from a link is to be. Links live for minutes: those that wait are dropped.
DELETE FROM console_links;
ALTER TABLE console_links ADD COLUMN owner text NOT NULL DEFAULT '';
ALTER TABLE console_links ADD COLUMN scopes text NOT NULL DEFAULT '[]';

-- Over the row before's hash and the row; '' for rows from before the chain.
ALTER TABLE audit ADD COLUMN hash text NOT NULL DEFAULT '';

CREATE TABLE settings (
  id      integer PRIMARY KEY CHECK (id = 1),
  version bigint NOT NULL,
  value   text NOT NULL                          -- Settings as JSON: only what was set
);

INSERT INTO settings (id, version, value) VALUES (1, 0, '{}');

CREATE TABLE rate_buckets (
  name       text PRIMARY KEY,                   -- a token's id, or method and token
  tokens     double precision NOT NULL,
  updated_at timestamptz NOT NULL
) WITH (fillfactor = 50);
