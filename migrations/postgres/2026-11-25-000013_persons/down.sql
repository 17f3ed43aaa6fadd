DROP INDEX preference_by_value;
DROP INDEX attempt_by_point;
ALTER TABLE enrolment DROP COLUMN carried_at;
DROP TABLE person_review;
DROP TABLE person_word;
DROP TABLE patient_identifier;
DROP TABLE patient_link;
ALTER TABLE patient DROP COLUMN root;
ALTER TABLE patient DROP COLUMN home;
