-- One row for each answered or failed call to a model.
CREATE TABLE ledger (
  id TEXT PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  operation TEXT NOT NULL,
  request_id TEXT NOT NULL,
  principal TEXT NOT NULL,
  job_id TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  exact INTEGER NOT NULL,
  latency_ms INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  fallbacks INTEGER NOT NULL
) STRICT;

CREATE INDEX ledger_by_time ON ledger (at_ms, id);
CREATE INDEX ledger_by_job ON ledger (job_id, at_ms) WHERE job_id <> '';
CREATE INDEX ledger_by_principal ON ledger (principal, at_ms);
