-- In the order in which attempts are taken, also where many fall due at one instant: a batch reads its own rows and sorts nothing.
DROP INDEX attempt_due;
CREATE INDEX attempt_due ON attempt (state, due_at, id);

-- What waits of a resource, and nothing else: a good version looks here for what it releases.
CREATE INDEX quarantine_waiting ON quarantine (ehr, rtype, fhir_id) WHERE released_at IS NULL;
