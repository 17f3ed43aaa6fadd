-- How fast an EHR is asked, by all nodes together: up to when turns are given away, and what it said of being asked too much.
CREATE TABLE pace (
    name TEXT NOT NULL PRIMARY KEY,
    next_at BIGINT NOT NULL,
    held_until BIGINT,
    throttled_at BIGINT,
    share BIGINT NOT NULL,
    share_since BIGINT NOT NULL,
    learned BIGINT,
    learned_since BIGINT,
    minute BIGINT NOT NULL,
    in_minute BIGINT NOT NULL,
    in_minute_before BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    opened BIGINT NOT NULL,
    open_until BIGINT,
    probe_by TEXT,
    probe_until BIGINT
);

-- How many turns were given in each span of five minutes, a day back.
CREATE TABLE pace_use (
    name TEXT NOT NULL,
    span BIGINT NOT NULL,
    used BIGINT NOT NULL,
    PRIMARY KEY (name, span)
);

-- How many requests each node may have on their way at once.
CREATE TABLE pace_seat (
    name TEXT NOT NULL,
    node TEXT NOT NULL,
    seats BIGINT NOT NULL,
    wanted BIGINT NOT NULL,
    since BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (name, node)
);

-- A run that ended because the EHR may not be asked for a while: until when.
ALTER TABLE sync_run ADD COLUMN paused_until BIGINT;
