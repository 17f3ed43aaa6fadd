CREATE TABLE person (
    pk INTEGER NOT NULL PRIMARY KEY,
    contact_revision BIGINT NOT NULL
);

CREATE TABLE patient (
    pk INTEGER NOT NULL PRIMARY KEY,
    ehr TEXT NOT NULL,
    fhir_id TEXT NOT NULL,
    person BIGINT NOT NULL REFERENCES person (pk),
    state TEXT NOT NULL CHECK (state IN ('stub', 'live', 'merged', 'gone')),
    UNIQUE (ehr, fhir_id)
);
CREATE INDEX patient_by_person ON patient (person);

CREATE TABLE fact (
    patient BIGINT NOT NULL,
    resource BIGINT NOT NULL,
    rtype TEXT NOT NULL,
    fhir_id TEXT NOT NULL,
    version TEXT,
    facts BLOB NOT NULL,
    PRIMARY KEY (patient, resource)
) WITHOUT ROWID;

CREATE TABLE pending_person (
    person BIGINT NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL,
    reads BIGINT NOT NULL,
    since BIGINT NOT NULL
);

CREATE TABLE preference (
    id INTEGER NOT NULL PRIMARY KEY,
    person BIGINT NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('all', 'channel', 'program', 'contact_point')),
    value TEXT NOT NULL,
    allowed BOOLEAN NOT NULL,
    source TEXT NOT NULL,
    recorded_at BIGINT NOT NULL
);
CREATE INDEX preference_by_person ON preference (person, id);
