ALTER TABLE sync_state DROP COLUMN by_patient;
ALTER TABLE sync_run DROP COLUMN gone;
ALTER TABLE sync_run DROP COLUMN units_of;
ALTER TABLE sync_run DROP COLUMN units_done;
DROP TABLE visit;
DROP TABLE missing;
DROP TABLE coverage_hole;
DROP TABLE roster;
