DROP TABLE pending_facts;
DROP TABLE derivation;
