-- One row for each answered or failed call to a model.
CREATE TABLE ledger (
  id text COLLATE "C" PRIMARY KEY,
  at_ms bigint NOT NULL,
  operation text NOT NULL,
  request_id text NOT NULL,
  principal text NOT NULL,
  job_id text NOT NULL,
  provider text COLLATE "C" NOT NULL,
  model text COLLATE "C" NOT NULL,
  input_tokens bigint NOT NULL,
  output_tokens bigint NOT NULL,
  exact boolean NOT NULL,
  latency_ms bigint NOT NULL,
  outcome text NOT NULL,
  fallbacks integer NOT NULL
);

CREATE INDEX ledger_by_time ON ledger (at_ms, id);
CREATE INDEX ledger_by_job ON ledger (job_id, at_ms) WHERE job_id <> '';
CREATE INDEX ledger_by_principal ON ledger (principal, at_ms);
