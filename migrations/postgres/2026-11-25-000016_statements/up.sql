-- What each EHR last stated of itself, and what was taken note of: drift is the difference of the two.
CREATE TABLE ehr_statement (
    ehr TEXT NOT NULL PRIMARY KEY,
    stated TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    accepted TEXT NOT NULL,
    accepted_at BIGINT NOT NULL,
    accepted_by TEXT,
    drifted_at BIGINT,
    problems BIGINT NOT NULL,
    notes BIGINT NOT NULL,
    failure TEXT,
    failed_at BIGINT
);
