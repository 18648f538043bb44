-- Version 2. What people look for in the audit is found without going through all of it.

CREATE INDEX audit_by_actor ON audit (actor, seq);
CREATE INDEX audit_by_action ON audit (action, seq);
