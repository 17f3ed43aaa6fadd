DROP TABLE refresh_request;
DROP TABLE subscription;
