ALTER TABLE definition
    DROP CONSTRAINT definition_kind_check,
    ADD CONSTRAINT definition_kind_check CHECK (kind IN ('segment', 'value-set', 'attribute')),
    ADD COLUMN reads BIGINT;

-- What the operators' own attributes read of each resource; NULL where it has to be read yet.
ALTER TABLE fact ADD COLUMN own BYTEA;

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
ALTER TABLE assignment ADD COLUMN unknown BYTEA;

-- For how many persons the answer is not known.
CREATE TABLE segment_count (
    segment BIGINT NOT NULL PRIMARY KEY,
    unknown BIGINT NOT NULL
);
