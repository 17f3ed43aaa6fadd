DROP INDEX audit_by_what;
DELETE FROM installation WHERE name = 'audit-verified';
-- What outreach held because it was stopped is judged anew: without the mark nothing would wake it.
UPDATE attempt SET due_at = 0, failure = NULL WHERE state = 'held' AND failure = 'stopped';
ALTER TABLE membership_day DROP COLUMN unknown;
ALTER TABLE session DROP COLUMN note;
