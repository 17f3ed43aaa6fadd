-- SQLite cannot change a CHECK, so the table is made anew.
CREATE TABLE writeback_new (
    id TEXT NOT NULL PRIMARY KEY,
    attempt TEXT NOT NULL REFERENCES attempt (id),
    kind TEXT NOT NULL CHECK (kind IN ('original', 'answer', 'correction', 'note', 'status-change', 'provenance')),
    revision BIGINT NOT NULL,
    ehr TEXT NOT NULL,
    patient BIGINT NOT NULL REFERENCES patient (pk),
    number BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('owed', 'writing', 'written', 'unknown', 'refused', 'exported', 'kept')),
    token BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    remote_id TEXT,
    remote_version TEXT,
    loss TEXT NOT NULL,
    failure TEXT,
    owed_at BIGINT NOT NULL,
    settled_at BIGINT,
    carrier TEXT CHECK (carrier IN ('communication', 'document-reference', 'appointment', 'provenance', 'route', 'export', 'ledger')),
    differences TEXT,
    put_as TEXT,
    unanswered BIGINT NOT NULL DEFAULT 0,
    UNIQUE (attempt, kind, revision)
);
INSERT INTO writeback_new
    SELECT id, attempt, kind, revision, ehr, patient, number, state, token, tries, next_at, remote_id, remote_version, loss, failure, owed_at,
        settled_at, CASE WHEN state IN ('written', 'unknown') THEN 'communication' END, NULL, NULL, 0
    FROM writeback;
DROP TABLE writeback;
ALTER TABLE writeback_new RENAME TO writeback;
CREATE INDEX writeback_due ON writeback (ehr, state, next_at);
CREATE UNIQUE INDEX writeback_lane ON writeback (patient, number);

CREATE TABLE writeback_item (
    writeback TEXT NOT NULL REFERENCES writeback (id),
    attempt TEXT NOT NULL REFERENCES attempt (id),
    PRIMARY KEY (writeback, attempt)
);

CREATE TABLE answer (
    attempt TEXT NOT NULL REFERENCES attempt (id),
    number BIGINT NOT NULL,
    channel TEXT NOT NULL,
    external_id TEXT,
    meaning TEXT NOT NULL,
    barrier TEXT,
    needs_action BOOLEAN NOT NULL,
    message BLOB,
    received_at BIGINT NOT NULL,
    recorded_by TEXT NOT NULL,
    PRIMARY KEY (attempt, number),
    UNIQUE (channel, external_id)
);

CREATE TABLE proof (
    ehr TEXT NOT NULL,
    subject TEXT NOT NULL,
    holds BOOLEAN NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (ehr, subject)
);
