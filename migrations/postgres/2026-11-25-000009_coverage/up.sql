-- Who is read one by one: a line of the list that the site gives, a member of a Group, a patient with an appointment.
CREATE TABLE roster (
    ehr TEXT NOT NULL,
    entry TEXT NOT NULL,
    patient TEXT,
    listed_at BIGINT NOT NULL,
    PRIMARY KEY (ehr, entry)
);
CREATE INDEX roster_by_patient ON roster (ehr, patient);

-- Of whom a type is not known, or less far than the type's own row says.
CREATE TABLE coverage_hole (
    ehr TEXT NOT NULL,
    patient TEXT NOT NULL,
    rtype TEXT NOT NULL,
    why TEXT NOT NULL,
    since BIGINT NOT NULL,
    known_up_to BIGINT,
    PRIMARY KEY (ehr, patient, rtype)
);

-- What a complete search no longer showed, until reads have settled whether it is gone.
CREATE TABLE missing (
    ehr TEXT NOT NULL,
    rtype TEXT NOT NULL,
    fhir_id TEXT NOT NULL,
    missed_at BIGINT NOT NULL,
    read_at BIGINT,
    PRIMARY KEY (ehr, rtype, fhir_id)
);

-- When appointments that were read by date begin: what a span of days should show.
CREATE TABLE visit (
    ehr TEXT NOT NULL,
    fhir_id TEXT NOT NULL,
    starts_at BIGINT NOT NULL,
    PRIMARY KEY (ehr, fhir_id)
);
CREATE INDEX visit_by_start ON visit (ehr, starts_at);

ALTER TABLE sync_run ADD COLUMN units_done BIGINT;
ALTER TABLE sync_run ADD COLUMN units_of BIGINT;
ALTER TABLE sync_run ADD COLUMN gone BIGINT;
ALTER TABLE sync_state ADD COLUMN by_patient BOOLEAN;
