ALTER TABLE writeback
    DROP CONSTRAINT writeback_kind_check,
    DROP CONSTRAINT writeback_state_check,
    ADD CONSTRAINT writeback_kind_check CHECK (kind IN ('original', 'answer', 'correction', 'note', 'status-change', 'provenance')),
    ADD CONSTRAINT writeback_state_check CHECK (state IN ('owed', 'writing', 'written', 'unknown', 'refused', 'exported', 'kept')),
    ADD COLUMN carrier TEXT CHECK (carrier IN ('communication', 'document-reference', 'appointment', 'provenance', 'route', 'export', 'ledger')),
    ADD COLUMN differences TEXT,
    ADD COLUMN put_as TEXT,
    ADD COLUMN unanswered BIGINT NOT NULL DEFAULT 0;
UPDATE writeback SET carrier = 'communication' WHERE state IN ('written', 'unknown');

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
    message BYTEA,
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
