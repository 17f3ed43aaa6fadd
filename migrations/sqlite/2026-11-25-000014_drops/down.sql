DROP TABLE drop_status;
DROP TABLE drop_file;
