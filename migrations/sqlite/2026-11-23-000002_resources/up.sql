CREATE TABLE sync_state (
    ehr TEXT NOT NULL REFERENCES ehr (id),
    rtype TEXT NOT NULL,
    strategy TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    high_water BIGINT,
    resume TEXT,
    run BIGINT,
    as_of BIGINT,
    PRIMARY KEY (ehr, rtype)
);

CREATE TABLE sync_run (
    id INTEGER NOT NULL PRIMARY KEY,
    ehr TEXT NOT NULL,
    rtype TEXT NOT NULL,
    strategy TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed', 'interrupted')),
    started_at BIGINT NOT NULL,
    server_started_at BIGINT,
    ended_at BIGINT,
    partial BOOLEAN NOT NULL,
    failure TEXT,
    pages BIGINT NOT NULL,
    found BIGINT NOT NULL,
    stored BIGINT NOT NULL,
    unchanged BIGINT NOT NULL,
    superseded BIGINT NOT NULL,
    quarantined BIGINT NOT NULL
);
CREATE INDEX sync_run_by_type ON sync_run (ehr, rtype, id);

CREATE TABLE dictionary (
    id BIGINT NOT NULL PRIMARY KEY,
    rtype TEXT NOT NULL,
    bytes BLOB NOT NULL
);

CREATE TABLE resource (
    pk INTEGER NOT NULL PRIMARY KEY,
    ehr TEXT NOT NULL,
    rtype TEXT NOT NULL,
    fhir_id TEXT NOT NULL,
    version TEXT,
    last_updated BIGINT,
    body BLOB NOT NULL,
    dictionary BIGINT,
    body_hash BLOB NOT NULL,
    facts_hash BLOB NOT NULL,
    projector BIGINT NOT NULL,
    patients TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    gone_at BIGINT,
    gone_why TEXT,
    UNIQUE (ehr, rtype, fhir_id)
);

CREATE TABLE quarantine (
    id INTEGER NOT NULL PRIMARY KEY,
    ehr TEXT NOT NULL,
    rtype TEXT,
    fhir_id TEXT,
    origin TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    body BLOB NOT NULL,
    body_hash BLOB NOT NULL,
    first_seen_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    times_seen BIGINT NOT NULL,
    released_at BIGINT,
    UNIQUE (ehr, body_hash, code)
);
