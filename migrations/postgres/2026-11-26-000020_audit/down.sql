DROP TABLE patient_read;
DROP TABLE form_key;
DROP TABLE audit_head;
DROP TABLE audit;
