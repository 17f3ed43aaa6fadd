ALTER TABLE sync_state DROP COLUMN reconciled_at;
ALTER TABLE sync_run DROP COLUMN note;
DROP TABLE export_seen;
DROP TABLE export_job;
