DROP TABLE quarantine;
DROP TABLE resource;
DROP TABLE dictionary;
DROP TABLE sync_run;
DROP TABLE sync_state;
