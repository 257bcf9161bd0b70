-- Labels of runners and jobs, and who holds runners and leases.

ALTER TABLE jobs
  -- What a runner must have to take the job: each label as `key=value` and a
  -- line feed, in the order of their bytes. Empty: nothing.
  ADD COLUMN placement text COLLATE "C" NOT NULL DEFAULT '',
  -- The caller that took the last lease, and the one whose failed end led to another attempt.
  ADD COLUMN holder text NOT NULL DEFAULT '',
  ADD COLUMN retried_holder text NOT NULL DEFAULT '';

-- One for each strength of a runner, in the order in which it takes jobs of one set of labels.
DROP INDEX jobs_queued_1, jobs_queued_2, jobs_queued_3, jobs_queued_4;
CREATE INDEX jobs_queued_1 ON jobs (placement, priority DESC, id)
WHERE status = 'queued' AND hold = '' AND isolation <= 1;
CREATE INDEX jobs_queued_2 ON jobs (placement, priority DESC, id)
WHERE status = 'queued' AND hold = '' AND isolation <= 2;
CREATE INDEX jobs_queued_3 ON jobs (placement, priority DESC, id)
WHERE status = 'queued' AND hold = '' AND isolation <= 3;
CREATE INDEX jobs_queued_4 ON jobs (placement, priority DESC, id)
WHERE status = 'queued' AND hold = '' AND isolation <= 4;

ALTER TABLE agents
  ADD COLUMN labels text NOT NULL DEFAULT '{}',  -- a JSON object
  -- The caller that presented the runner: nobody else speaks for it.
  ADD COLUMN holder text NOT NULL DEFAULT '';
