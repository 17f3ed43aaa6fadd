ALTER TABLE sync_run DROP COLUMN paused_until;
DROP TABLE pace_seat;
DROP TABLE pace_use;
DROP TABLE pace;
