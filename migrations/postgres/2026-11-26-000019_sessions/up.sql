-- Who is signed in. The id is the hash of what the browser's cookie says: whoever reads this table is not signed in by it.
CREATE TABLE session (
    id TEXT NOT NULL PRIMARY KEY,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    name TEXT,
    fhir_user TEXT,
    ehr TEXT,
    roles TEXT NOT NULL,
    way TEXT NOT NULL CHECK (way IN ('link', 'oidc', 'launch')),
    csrf TEXT NOT NULL,
    begun_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- A patient opened by a session; the handle stands in URLs in place of any id.
CREATE TABLE opening (
    handle TEXT NOT NULL PRIMARY KEY,
    session TEXT NOT NULL,
    ehr TEXT NOT NULL,
    patient TEXT NOT NULL,
    roles TEXT NOT NULL,
    way TEXT NOT NULL CHECK (way IN ('launch', 'found')),
    encounter TEXT,
    banner BOOLEAN NOT NULL,
    intent TEXT,
    tenant TEXT,
    context TEXT,
    granted BOOLEAN NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('unasked', 'allowed', 'denied')),
    asked_at BIGINT,
    opened_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX opening_by_session ON opening (session);

-- A sign-in or launch that waits for the browser to come back. Taken out by the first that comes.
CREATE TABLE sign_in (
    state TEXT NOT NULL PRIMARY KEY,
    browser TEXT NOT NULL,
    way TEXT NOT NULL CHECK (way IN ('oidc', 'launch')),
    ehr TEXT,
    sealed BYTEA NOT NULL,
    begun_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Links by which somebody may sign in once. The token is a hash, as a session's id is.
CREATE TABLE sign_in_link (
    token TEXT NOT NULL PRIMARY KEY,
    roles TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
