DROP TABLE segment_count;
ALTER TABLE assignment DROP COLUMN unknown;
DROP TABLE pending_own;
DROP TABLE own_attribute;
ALTER TABLE fact DROP COLUMN own;
DELETE FROM definition WHERE kind = 'attribute';
ALTER TABLE definition
    DROP COLUMN reads,
    DROP CONSTRAINT definition_kind_check,
    ADD CONSTRAINT definition_kind_check CHECK (kind IN ('segment', 'value-set'));
