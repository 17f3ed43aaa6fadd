CREATE TABLE segment (
    number BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    version BIGINT NOT NULL,
    source TEXT NOT NULL,
    hash TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    retired_at BIGINT
);

CREATE TABLE assignment (
    person BIGINT NOT NULL PRIMARY KEY,
    evaluated_at BIGINT NOT NULL,
    wake_at BIGINT,
    events BIGINT NOT NULL
);
CREATE INDEX assignment_by_wake ON assignment (wake_at);

CREATE TABLE membership (
    person BIGINT NOT NULL,
    segment BIGINT NOT NULL,
    version BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('in', 'held')),
    since BIGINT NOT NULL,
    entry BIGINT NOT NULL,
    reasons BYTEA NOT NULL,
    PRIMARY KEY (person, segment)
);
CREATE INDEX membership_by_segment ON membership (segment, state);

CREATE TABLE membership_event (
    person BIGINT NOT NULL,
    number BIGINT NOT NULL,
    segment BIGINT NOT NULL,
    version BIGINT NOT NULL,
    before TEXT,
    after TEXT,
    effective_at BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    reasons BYTEA NOT NULL,
    PRIMARY KEY (person, number)
);
