-- What somebody answered to a job's agent that asked: only the last answer counts.

-- The number of the event that asked; 0: nobody has answered yet.
ALTER TABLE jobs ADD COLUMN answer_seq INTEGER NOT NULL DEFAULT 0;
-- AgentAnswer as JSON; '' before the first.
ALTER TABLE jobs ADD COLUMN answer TEXT NOT NULL DEFAULT '';
