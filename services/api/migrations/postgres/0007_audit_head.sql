-- Where the audit's chain ends: rows that are cut off its end are missed, and none is removed by mistake.

-- One row: the last row of the audit that was added.
CREATE TABLE audit_head (
  one  integer PRIMARY KEY CHECK (one = 1),
  id   bigint NOT NULL,                          -- 0: there was none
  hash text NOT NULL                             -- '': the chain has not begun
);

INSERT INTO audit_head (one, id, hash) VALUES (
  1,
  coalesce((SELECT max(id) FROM audit), 0),
  coalesce((SELECT hash FROM audit ORDER BY id DESC LIMIT 1), '')
);

CREATE FUNCTION refuse_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% rows are never removed', TG_TABLE_NAME;
END
$$;

CREATE TRIGGER audit_is_never_removed BEFORE DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION refuse_removal();

CREATE TRIGGER audit_is_never_emptied BEFORE TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION refuse_removal();
