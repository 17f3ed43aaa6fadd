DROP INDEX quarantine_waiting;
DROP INDEX attempt_due;
CREATE INDEX attempt_due ON attempt (state, due_at);
