-- With which revision of its derivation the stored resources of a type were made into facts, and how far the stored bodies were read anew.
CREATE TABLE derivation (
    rtype TEXT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    after_resource BIGINT NOT NULL,
    done BIGINT NOT NULL,
    total BIGINT NOT NULL,
    begun_at BIGINT NOT NULL,
    ended_at BIGINT
);

-- Up to here there was one revision.
INSERT INTO derivation (rtype, revision, after_resource, done, total, begun_at, ended_at)
    SELECT rtype, 1, 0, 0, 0, 0, 0 FROM resource GROUP BY rtype;

-- Resources that an older program stored meanwhile, to be read anew by one that derives as `derivation` says.
CREATE TABLE pending_facts (
    resource BIGINT NOT NULL PRIMARY KEY
);
