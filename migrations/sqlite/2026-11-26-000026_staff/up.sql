-- What the last act of a session has to say on its next page: whichever node that is asked for.
ALTER TABLE session ADD COLUMN note TEXT;

-- For how many persons the answer was not known at the end of a day; NULL where that did not change on it.
ALTER TABLE membership_day ADD COLUMN unknown BIGINT;

-- What was seen or done, kind by kind, for those who look at it.
CREATE INDEX audit_by_what ON audit (what, number);
