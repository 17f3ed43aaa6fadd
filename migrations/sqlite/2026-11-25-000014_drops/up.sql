-- Files of drop folders: each is taken once, and its rows are accounted for.
CREATE TABLE drop_file (
    id INTEGER NOT NULL PRIMARY KEY,
    ehr TEXT NOT NULL,
    drop_name TEXT NOT NULL,
    file TEXT NOT NULL,
    hash TEXT NOT NULL,
    size BIGINT NOT NULL,
    modified_at BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('taking', 'done', 'failed', 'held', 'repeated')),
    seen_at BIGINT NOT NULL,
    ended_at BIGINT,
    moved BOOLEAN NOT NULL,
    lines BIGINT NOT NULL,
    stored BIGINT NOT NULL,
    unchanged BIGINT NOT NULL,
    superseded BIGINT NOT NULL,
    ignored BIGINT NOT NULL,
    quarantined BIGINT NOT NULL,
    missing BIGINT NOT NULL,
    gone BIGINT NOT NULL,
    reason TEXT,
    UNIQUE (ehr, drop_name, file, hash)
);

-- How each drop folder stands: what alerts derive from.
CREATE TABLE drop_status (
    ehr TEXT NOT NULL,
    drop_name TEXT NOT NULL,
    since BIGINT NOT NULL,
    checked_at BIGINT NOT NULL,
    last_taken_at BIGINT,
    late_since BIGINT,
    problem TEXT,
    PRIMARY KEY (ehr, drop_name)
);
