-- `person` is whom a record belongs to now, `home` the person that it was made with and goes back to when it is parted; absent: the same.
-- `root` is the record that survived it; absent: itself.
ALTER TABLE patient ADD COLUMN home BIGINT;
ALTER TABLE patient ADD COLUMN root BIGINT;

-- What the EHR says of two of its records: Patient.link as sent, or a read of one id that is answered with another.
CREATE TABLE patient_link (
    from_record BIGINT NOT NULL,
    to_record BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('replaced-by', 'replaces', 'refer', 'seealso', 'redirect')),
    since BIGINT NOT NULL,
    PRIMARY KEY (from_record, to_record, kind)
);
CREATE INDEX patient_link_to ON patient_link (to_record);

-- Identifiers of the systems that the site declared as common, and of no other. The value is kept as a hash.
CREATE TABLE patient_identifier (
    record BIGINT NOT NULL,
    token TEXT NOT NULL,
    system TEXT NOT NULL,
    PRIMARY KEY (record, token)
);
CREATE INDEX patient_identifier_shared ON patient_identifier (token, record);

-- What staff said of two records. The latest word counts; none is ever taken away.
CREATE TABLE person_word (
    id INTEGER NOT NULL PRIMARY KEY,
    one BIGINT NOT NULL,
    other BIGINT NOT NULL,
    word TEXT NOT NULL CHECK (word IN ('same', 'apart', 'withdrawn')),
    said_by TEXT NOT NULL,
    why TEXT NOT NULL,
    said_at BIGINT NOT NULL
);
CREATE INDEX person_word_one ON person_word (one);
CREATE INDEX person_word_other ON person_word (other);

-- What a machine cannot settle.
CREATE TABLE person_review (
    record BIGINT NOT NULL,
    reason TEXT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (record, reason)
);

-- Since when an enrolment goes on although its person was joined or parted, whatever the number of the entry into the segment.
ALTER TABLE enrolment ADD COLUMN carried_at BIGINT;

-- What was sent to a contact point, and what was said of it, whoever shares it.
CREATE INDEX attempt_by_point ON attempt (contact_hash, sent_at);
CREATE INDEX preference_by_value ON preference (scope, value);
