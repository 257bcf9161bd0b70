-- reader: 7
-- The end of the audit's chain moves forward only, and no row comes ahead of the first.

CREATE TRIGGER audit_head_never_goes_back BEFORE UPDATE ON audit_head
WHEN NEW.id < OLD.id
BEGIN
  SELECT RAISE(ABORT, 'audit_head never goes back');
END;

-- A restore replaces the empty one of a new store.
CREATE TRIGGER audit_head_is_never_removed BEFORE DELETE ON audit_head
WHEN OLD.id > 0
BEGIN
  SELECT RAISE(ABORT, 'audit_head rows are never removed');
END;

CREATE TRIGGER audit_begins_with_one BEFORE INSERT ON audit
WHEN NEW.id < 1
BEGIN
  SELECT RAISE(ABORT, 'audit rows begin with 1');
END;
