DROP TABLE lease;
DROP TABLE signing_key;
DROP TABLE ehr;
DROP TABLE installation;
