DROP TABLE proof;
DROP TABLE answer;
DROP TABLE writeback_item;
DELETE FROM writeback WHERE kind NOT IN ('original', 'correction') OR state = 'kept';
ALTER TABLE writeback
    DROP COLUMN unanswered,
    DROP COLUMN put_as,
    DROP COLUMN differences,
    DROP COLUMN carrier,
    DROP CONSTRAINT writeback_kind_check,
    DROP CONSTRAINT writeback_state_check,
    ADD CONSTRAINT writeback_kind_check CHECK (kind IN ('original', 'correction')),
    ADD CONSTRAINT writeback_state_check CHECK (state IN ('owed', 'writing', 'written', 'unknown', 'refused', 'exported'));
