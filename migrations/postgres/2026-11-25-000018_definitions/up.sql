-- Every version of every definition has a number of its own, which memberships and events name. `segment` had one row per segment; it is
-- read no more, and goes in a later release.
CREATE TABLE definition (
    number BIGINT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('segment', 'value-set')),
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    rollout BIGINT NOT NULL,
    source TEXT NOT NULL,
    hash TEXT NOT NULL,
    catalogue BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('staged', 'current', 'past', 'dropped')),
    staged_at BIGINT NOT NULL,
    current_from BIGINT,
    current_until BIGINT,
    ended_by BIGINT,
    UNIQUE (kind, id, version)
);
INSERT INTO definition (number, kind, id, version, rollout, source, hash, catalogue, state, staged_at, current_from, current_until, ended_by)
    SELECT number, 'segment', id, version, 1, source, hash, 1, CASE WHEN retired_at IS NULL THEN 'current' ELSE 'past' END, changed_at,
        changed_at, retired_at, NULL
    FROM segment;

CREATE TABLE rollout (
    number BIGINT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('first', 'apply', 'rollback', 'catalogue')),
    back_to BIGINT,
    state TEXT NOT NULL CHECK (state IN ('staging', 'settling', 'dropping', 'done', 'dropped')),
    after_person BIGINT NOT NULL,
    persons BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    exits BIGINT NOT NULL,
    begun_at BIGINT NOT NULL,
    flipped_at BIGINT,
    ended_at BIGINT
);
INSERT INTO rollout (number, kind, back_to, state, after_person, persons, entries, exits, begun_at, flipped_at, ended_at)
    SELECT 1, 'first', NULL, 'done', 0, 0, 0, 0, begun, begun, begun FROM (SELECT MAX(changed_at) AS begun FROM segment) s
    WHERE begun IS NOT NULL;

-- Entries and exits that take effect when the roll-out's definitions are put in force.
CREATE TABLE membership_step (
    rollout BIGINT NOT NULL,
    person BIGINT NOT NULL,
    segment BIGINT NOT NULL,
    version BIGINT NOT NULL,
    before TEXT,
    after TEXT,
    reasons BYTEA NOT NULL,
    PRIMARY KEY (rollout, person, segment)
);
