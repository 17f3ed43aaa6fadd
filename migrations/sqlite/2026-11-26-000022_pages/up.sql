-- What went into and out of each version of a segment on a day of UTC: history for people, without a walk through all events.
CREATE TABLE membership_day (
    segment BIGINT NOT NULL,
    day BIGINT NOT NULL,
    entered BIGINT NOT NULL,
    exited BIGINT NOT NULL,
    held BIGINT NOT NULL,
    released BIGINT NOT NULL,
    PRIMARY KEY (segment, day)
) WITHOUT ROWID;
INSERT INTO membership_day (segment, day, entered, exited, held, released)
    SELECT segment, effective_at / 86400000000,
        SUM(CASE WHEN after = 'in' AND COALESCE(before, '') <> 'in' THEN 1 ELSE 0 END),
        SUM(CASE WHEN before = 'in' AND COALESCE(after, '') <> 'in' THEN 1 ELSE 0 END),
        SUM(CASE WHEN after = 'held' AND COALESCE(before, '') <> 'held' THEN 1 ELSE 0 END),
        SUM(CASE WHEN before = 'held' AND COALESCE(after, '') <> 'held' THEN 1 ELSE 0 END)
    FROM membership_event GROUP BY segment, effective_at / 86400000000;

-- Who stopped all outreach, a program or a channel, why, and who let it go on. Those that are over stay as a record.
CREATE TABLE outreach_stop (
    id INTEGER NOT NULL PRIMARY KEY,
    scope TEXT NOT NULL CHECK (scope IN ('all', 'program', 'channel')),
    name TEXT NOT NULL,
    why TEXT NOT NULL,
    stopped_at BIGINT NOT NULL,
    stopped_by TEXT NOT NULL,
    ended_at BIGINT,
    ended_by TEXT
);
CREATE UNIQUE INDEX outreach_stop_in_force ON outreach_stop (scope, name) WHERE ended_at IS NULL;

-- A patient as people look for one: the name to address the patient by, without case and marks, and as it is shown.
CREATE TABLE patient_label (
    record INTEGER NOT NULL PRIMARY KEY,
    family TEXT NOT NULL,
    given TEXT NOT NULL,
    born TEXT NOT NULL,
    shown TEXT NOT NULL
);
CREATE INDEX patient_label_name ON patient_label (family, given, record);
CREATE INDEX patient_label_born ON patient_label (born, record);
-- Records that were read before have none yet: from which one on they are still to be made.
INSERT INTO installation (name, value) SELECT 'labelled-up-to', '0' WHERE EXISTS (SELECT 1 FROM patient);

-- When staff had done what an answer, or a message that reached nobody, asked of them.
ALTER TABLE answer ADD COLUMN settled_at BIGINT;
ALTER TABLE answer ADD COLUMN settled_by TEXT;
CREATE INDEX answer_waiting ON answer (received_at) WHERE needs_action AND settled_at IS NULL;
ALTER TABLE attempt ADD COLUMN called_at BIGINT;
ALTER TABLE attempt ADD COLUMN called_by TEXT;
CREATE INDEX attempt_to_call ON attempt (expires_at) WHERE called_at IS NULL AND failure LIKE 'channel: %';

-- Lists in the order in which people read them.
CREATE INDEX attempt_by_program ON attempt (program, state, due_at, id, channel, outcome);
CREATE INDEX writeback_by_state ON writeback (state, owed_at, id, ehr);
CREATE INDEX quarantine_open ON quarantine (ehr, code, id) WHERE released_at IS NULL;
