-- How many of a type are gone is counted without a look at those that are there.
CREATE INDEX resource_gone ON resource (ehr, rtype) WHERE gone_at IS NOT NULL;
