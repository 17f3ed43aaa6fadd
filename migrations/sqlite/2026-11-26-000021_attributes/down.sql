DROP TABLE segment_count;
ALTER TABLE assignment DROP COLUMN unknown;
DROP TABLE pending_own;
DROP TABLE own_attribute;
ALTER TABLE fact DROP COLUMN own;
CREATE TABLE definition_old (
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
INSERT INTO definition_old
    SELECT number, kind, id, version, rollout, source, hash, catalogue, state, staged_at, current_from, current_until, ended_by
    FROM definition WHERE kind <> 'attribute';
DROP TABLE definition;
ALTER TABLE definition_old RENAME TO definition;
