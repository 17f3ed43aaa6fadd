DROP TABLE refresh_request;
DROP TABLE form_key;
DROP TABLE audit_head;
DROP TABLE audit;
