-- What somebody answered to a job's agent that asked: only the last answer counts.

ALTER TABLE jobs
  -- The number of the event that asked; 0: nobody has answered yet.
  ADD COLUMN answer_seq bigint NOT NULL DEFAULT 0,
  -- AgentAnswer as JSON; '' before the first.
  ADD COLUMN answer text NOT NULL DEFAULT '';
