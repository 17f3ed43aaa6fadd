DROP TABLE writeback;
