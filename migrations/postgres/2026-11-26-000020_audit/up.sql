-- Who saw or did what of which patient, and why. Each row's hash is of its fields and of the hash before it.
CREATE TABLE audit (
    number BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    roles TEXT NOT NULL,
    what TEXT NOT NULL,
    ehr TEXT,
    patient TEXT,
    opening TEXT,
    about TEXT,
    why TEXT,
    hash BYTEA NOT NULL
);
CREATE INDEX audit_by_patient ON audit (ehr, patient, number);
CREATE INDEX audit_by_who ON audit (who, number);
CREATE INDEX audit_by_time ON audit (at);

-- The end of the chain: whoever adds a row holds this one until the commit.
CREATE TABLE audit_head (
    id BIGINT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    hash BYTEA NOT NULL
);
INSERT INTO audit_head (id, number, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'));

-- The keys of forms that were acted on: a form that is sent twice acts once.
CREATE TABLE form_key (
    key TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
);
CREATE INDEX form_key_by_time ON form_key (at);

-- Patients that somebody looks at, to be read again from their EHR now.
CREATE TABLE patient_read (
    ehr TEXT NOT NULL,
    patient TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    taken_by TEXT,
    taken_until BIGINT,
    answered_at BIGINT,
    outcome TEXT CHECK (outcome IN ('read', 'gone', 'failed')),
    told TEXT,
    PRIMARY KEY (ehr, patient)
);
CREATE INDEX patient_read_open ON patient_read (answered_at, asked_at);
