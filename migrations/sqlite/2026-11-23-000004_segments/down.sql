DROP TABLE membership_event;
DROP TABLE membership;
DROP TABLE assignment;
DROP TABLE segment;
