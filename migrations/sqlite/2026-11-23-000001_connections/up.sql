CREATE TABLE installation (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE ehr (
    id TEXT NOT NULL PRIMARY KEY,
    profile TEXT NOT NULL,
    revision BIGINT NOT NULL,
    added_at BIGINT NOT NULL
);

CREATE TABLE signing_key (
    kid TEXT NOT NULL PRIMARY KEY,
    alg TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('next', 'current', 'retiring', 'retired')),
    sealed BLOB NOT NULL,
    public_jwk TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE lease (
    name TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    token BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
