DROP TABLE proof;
DROP TABLE answer;
DROP TABLE writeback_item;
CREATE TABLE writeback_old (
    id TEXT NOT NULL PRIMARY KEY,
    attempt TEXT NOT NULL REFERENCES attempt (id),
    kind TEXT NOT NULL CHECK (kind IN ('original', 'correction')),
    revision BIGINT NOT NULL,
    ehr TEXT NOT NULL,
    patient BIGINT NOT NULL REFERENCES patient (pk),
    number BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('owed', 'writing', 'written', 'unknown', 'refused', 'exported')),
    token BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    remote_id TEXT,
    remote_version TEXT,
    loss TEXT NOT NULL,
    failure TEXT,
    owed_at BIGINT NOT NULL,
    settled_at BIGINT,
    UNIQUE (attempt, kind, revision)
);
INSERT INTO writeback_old
    SELECT id, attempt, kind, revision, ehr, patient, number, state, token, tries, next_at, remote_id, remote_version, loss, failure, owed_at,
        settled_at
    FROM writeback WHERE kind IN ('original', 'correction') AND state <> 'kept';
DROP TABLE writeback;
ALTER TABLE writeback_old RENAME TO writeback;
CREATE INDEX writeback_due ON writeback (ehr, state, next_at);
CREATE UNIQUE INDEX writeback_lane ON writeback (patient, number);
