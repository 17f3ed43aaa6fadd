-- SQLite cannot change a CHECK, so the table is made anew.
CREATE TABLE definition_new (
    number BIGINT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('segment', 'value-set', 'attribute')),
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
    reads BIGINT,
    UNIQUE (kind, id, version)
);
INSERT INTO definition_new
    SELECT number, kind, id, version, rollout, source, hash, catalogue, state, staged_at, current_from, current_until, ended_by, NULL
    FROM definition;
DROP TABLE definition;
ALTER TABLE definition_new RENAME TO definition;

-- What the operators' own attributes read of each resource; NULL where it has to be read yet.
ALTER TABLE fact ADD COLUMN own BLOB;

-- Each own attribute that was ever in use, by the hash of what decides about its value, and how far the stored bodies were read for it.
CREATE TABLE own_attribute (
    hash TEXT NOT NULL PRIMARY KEY,
    rtype TEXT NOT NULL,
    after_resource BIGINT NOT NULL,
    done BIGINT NOT NULL,
    total BIGINT NOT NULL,
    begun_at BIGINT NOT NULL,
    ended_at BIGINT
);

-- Resources that were stored since, to be read for own attributes before anyone is judged by them.
CREATE TABLE pending_own (
    resource BIGINT NOT NULL PRIMARY KEY
);

-- Segments by number whose answer is not known for the person, as bits.
ALTER TABLE assignment ADD COLUMN unknown BLOB;

-- For how many persons the answer is not known.
CREATE TABLE segment_count (
    segment BIGINT NOT NULL PRIMARY KEY,
    unknown BIGINT NOT NULL
);
