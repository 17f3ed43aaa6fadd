-- An export that an EHR prepares, or that is being read. Where to ask for it is kept before anything else is done with it.
CREATE TABLE export_job (
    id INTEGER NOT NULL PRIMARY KEY,
    ehr TEXT NOT NULL,
    types TEXT NOT NULL,
    request TEXT NOT NULL,
    since BIGINT,
    status_url TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'reading', 'over')),
    started_at BIGINT NOT NULL,
    server_started_at BIGINT,
    poll_at BIGINT,
    progress TEXT,
    failures BIGINT NOT NULL,
    manifest TEXT,
    file BIGINT NOT NULL,
    line BIGINT NOT NULL,
    counted BIGINT NOT NULL,
    partial TEXT NOT NULL
);
CREATE INDEX export_job_by_ehr ON export_job (ehr);

-- Which resources an export has shown so far, as hashes of their ids: what it does not show is missing.
CREATE TABLE export_seen (
    job BIGINT NOT NULL,
    rtype TEXT NOT NULL,
    file BIGINT NOT NULL,
    line BIGINT NOT NULL,
    ids BLOB NOT NULL,
    PRIMARY KEY (job, rtype, file, line)
);

-- What a run has to say beside its counts: that it fell back to another way, for instance.
ALTER TABLE sync_run ADD COLUMN note TEXT;
-- When a complete answer was last compared with what is stored.
ALTER TABLE sync_state ADD COLUMN reconciled_at BIGINT;
