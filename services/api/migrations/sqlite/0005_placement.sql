-- Labels of runners and jobs, and who holds runners and leases.

-- What a runner must have to take the job: each label as `key=value` and a line
-- feed, in the order of their bytes. Empty: nothing.
ALTER TABLE jobs ADD COLUMN placement TEXT NOT NULL DEFAULT '';
-- The caller that took the last lease, and the one whose failed end led to another attempt.
ALTER TABLE jobs ADD COLUMN holder TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN retried_holder TEXT NOT NULL DEFAULT '';

-- In the order in which runners take jobs, for each set of labels and isolation.
DROP INDEX jobs_queued;
CREATE INDEX jobs_queued ON jobs (placement, isolation, priority DESC, id)
WHERE status = 'queued' AND hold = '';

ALTER TABLE agents ADD COLUMN labels TEXT NOT NULL DEFAULT '{}'; -- a JSON object
-- The caller that presented the runner: nobody else speaks for it.
ALTER TABLE agents ADD COLUMN holder TEXT NOT NULL DEFAULT '';
