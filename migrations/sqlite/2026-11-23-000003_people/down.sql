DROP TABLE preference;
DROP TABLE pending_person;
DROP TABLE fact;
DROP TABLE patient;
DROP TABLE person;
