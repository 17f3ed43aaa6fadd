DROP TABLE ehr_statement;
