DROP TABLE seen_expiry;
DROP TABLE user_grant;
DROP TABLE access_token;
DROP TABLE ehr_key;
