-- What an EHR was asked to tell of: one row for each (EHR, type, topic) from before it is asked until it has been told to stop.
-- The address that it tells to ends with a random token, of which the hash finds the row; token and secret themselves are sealed.
CREATE TABLE subscription (
    id INTEGER NOT NULL PRIMARY KEY,
    ehr TEXT NOT NULL,
    rtype TEXT NOT NULL,
    topic TEXT NOT NULL,
    manner TEXT NOT NULL CHECK (manner IN ('rest-hook', 'topic', 'signed')),
    request TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('asked', 'active', 'error', 'ending')),
    token_hash TEXT NOT NULL,
    sealed BLOB NOT NULL,
    remote_id TEXT,
    asked_at BIGINT NOT NULL,
    ends_at BIGINT,
    heartbeat_secs BIGINT,
    heard_at BIGINT,
    event_at BIGINT,
    events BIGINT NOT NULL,
    last_number BIGINT,
    missing_from BIGINT,
    missing_to BIGINT,
    in_doubt BOOLEAN NOT NULL,
    look_at BIGINT NOT NULL,
    reread_at BIGINT,
    reread_due BIGINT,
    failures BIGINT NOT NULL,
    failure TEXT
);
CREATE UNIQUE INDEX subscription_token ON subscription (token_hash);
CREATE UNIQUE INDEX subscription_of ON subscription (ehr, rtype, topic) WHERE state <> 'ending';

-- Single resources that are to be read from their EHR: because the EHR told of them, or because someone asks. It holds no data of theirs.
CREATE TABLE refresh_request (
    ehr TEXT NOT NULL,
    rtype TEXT NOT NULL,
    fhir_id TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    PRIMARY KEY (ehr, rtype, fhir_id)
);
CREATE INDEX refresh_request_due ON refresh_request (ehr, due_at);
