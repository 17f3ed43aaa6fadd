CREATE TABLE program (
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    source TEXT NOT NULL,
    hash TEXT NOT NULL,
    current BOOLEAN NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (id, version)
);

CREATE TABLE enrolment (
    id INTEGER NOT NULL PRIMARY KEY,
    program TEXT NOT NULL,
    person BIGINT NOT NULL,
    anchor TEXT NOT NULL,
    entry BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'ended')),
    entered_at BIGINT NOT NULL,
    ended_at BIGINT,
    ended_why TEXT,
    UNIQUE (program, person, anchor, entry)
);
CREATE INDEX enrolment_by_person ON enrolment (person, state);

CREATE TABLE pending_outreach (
    person BIGINT NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL,
    since BIGINT NOT NULL
);

CREATE TABLE attempt (
    id TEXT NOT NULL PRIMARY KEY,
    enrolment BIGINT NOT NULL REFERENCES enrolment (id),
    program TEXT NOT NULL,
    program_version BIGINT NOT NULL,
    step TEXT NOT NULL,
    rung BIGINT NOT NULL,
    anchor_revision TEXT NOT NULL,
    about TEXT,
    person BIGINT NOT NULL,
    patient BIGINT NOT NULL REFERENCES patient (pk),
    state TEXT NOT NULL CHECK (state IN ('planned', 'held', 'sending', 'sent', 'finished', 'refused', 'void')),
    outcome TEXT CHECK (outcome IN ('delivered', 'answered', 'failed', 'unknown')),
    due_at BIGINT NOT NULL,
    expires_at BIGINT,
    channel TEXT,
    contact_hash BLOB,
    template TEXT NOT NULL,
    language TEXT,
    action TEXT NOT NULL,
    message BLOB,
    token BIGINT NOT NULL,
    provider_ref TEXT,
    failure TEXT,
    sent_at BIGINT,
    settle_by BIGINT,
    finished_at BIGINT,
    UNIQUE (enrolment, step, rung, anchor_revision)
);
CREATE INDEX attempt_due ON attempt (state, due_at);
CREATE INDEX attempt_by_person ON attempt (person, sent_at);

CREATE TABLE verdict (
    attempt TEXT NOT NULL REFERENCES attempt (id),
    number BIGINT NOT NULL,
    judged_at BIGINT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('allow', 'hold', 'refuse')),
    hold_until BIGINT,
    facts_as_of BIGINT,
    reasons BLOB NOT NULL,
    PRIMARY KEY (attempt, number)
);
