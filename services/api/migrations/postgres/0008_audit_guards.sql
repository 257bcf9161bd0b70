-- reader: 7
-- The end of the audit's chain moves forward only, and no row comes ahead of the first.

CREATE FUNCTION refuse_going_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% never goes back', TG_TABLE_NAME;
END
$$;

CREATE TRIGGER audit_head_never_goes_back BEFORE UPDATE ON audit_head
FOR EACH ROW WHEN (NEW.id < OLD.id) EXECUTE FUNCTION refuse_going_back();

-- A restore replaces the empty one of a new store.
CREATE TRIGGER audit_head_is_never_removed BEFORE DELETE ON audit_head
FOR EACH ROW WHEN (OLD.id > 0) EXECUTE FUNCTION refuse_removal();

CREATE TRIGGER audit_head_is_never_emptied BEFORE TRUNCATE ON audit_head
FOR EACH STATEMENT EXECUTE FUNCTION refuse_removal();

-- Not asked of rows that are there: the check of the chain names those.
ALTER TABLE audit ADD CONSTRAINT audit_begins_with_one CHECK (id > 0) NOT VALID;
