DROP TABLE verdict;
DROP TABLE attempt;
DROP TABLE pending_outreach;
DROP TABLE enrolment;
DROP TABLE program;
