DROP TABLE sign_in_link;
DROP TABLE sign_in;
DROP TABLE opening;
DROP TABLE session;
