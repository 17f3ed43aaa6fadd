-- When an EHR is read, as the site says; the type '*' stands for all types of it. What it says is JSON that the store does not read.
CREATE TABLE schedule (
    ehr TEXT NOT NULL,
    rtype TEXT NOT NULL,
    timing TEXT NOT NULL,
    set_at BIGINT NOT NULL,
    set_by TEXT NOT NULL,
    PRIMARY KEY (ehr, rtype)
);

-- How far the schedule of an (EHR, type) is served, what went wrong since, and who wants it read now.
CREATE TABLE sync_turn (
    ehr TEXT NOT NULL,
    rtype TEXT NOT NULL,
    served_at BIGINT,
    failures BIGINT NOT NULL,
    failing_since BIGINT,
    failed_at BIGINT,
    failure TEXT,
    retry_at BIGINT,
    wanted_at BIGINT,
    wanted_by TEXT,
    expected BIGINT,
    PRIMARY KEY (ehr, rtype)
);

-- Who stopped the reading of an EHR or of one type of it, why, and who let it go on.
CREATE TABLE sync_pause (
    id INTEGER NOT NULL PRIMARY KEY,
    ehr TEXT NOT NULL,
    rtype TEXT NOT NULL,
    why TEXT NOT NULL,
    paused_at BIGINT NOT NULL,
    paused_by TEXT NOT NULL,
    resumed_at BIGINT,
    resumed_by TEXT
);
CREATE UNIQUE INDEX sync_pause_in_force ON sync_pause (ehr, rtype) WHERE resumed_at IS NULL;

-- What someone has to look at. One row from its beginning to its end.
CREATE TABLE alert (
    id INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    says TEXT NOT NULL,
    remedy TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    absent_since BIGINT,
    closed_at BIGINT,
    acknowledged_at BIGINT,
    acknowledged_by TEXT,
    acknowledged_why TEXT
);
CREATE UNIQUE INDEX alert_open ON alert (kind, subject) WHERE closed_at IS NULL;

-- Whom it is told, at its beginning and at its end.
CREATE TABLE alert_delivery (
    id INTEGER NOT NULL PRIMARY KEY,
    alert BIGINT NOT NULL REFERENCES alert (id),
    event TEXT NOT NULL CHECK (event IN ('opened', 'closed')),
    target TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('owed', 'sent', 'given-up')),
    tries BIGINT NOT NULL,
    owed_at BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    settled_at BIGINT,
    said TEXT
);
CREATE INDEX alert_delivery_by_alert ON alert_delivery (alert);
CREATE INDEX alert_delivery_owed ON alert_delivery (target, id) WHERE state = 'owed';

-- What another part of the gateway found wrong and no row of its own tells. It holds until it is taken back, or until an instant.
CREATE TABLE alert_condition (
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    says TEXT NOT NULL,
    remedy TEXT NOT NULL,
    since BIGINT NOT NULL,
    holds_until BIGINT,
    PRIMARY KEY (kind, subject)
);
