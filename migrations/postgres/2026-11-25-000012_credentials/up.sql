CREATE TABLE ehr_key (
    ehr TEXT NOT NULL,
    client TEXT NOT NULL,
    kid TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('next', 'current', 'retiring', 'refused')),
    since BIGINT NOT NULL,
    try_after BIGINT NOT NULL,
    refusals BIGINT NOT NULL,
    told TEXT,
    PRIMARY KEY (ehr, client, kid)
);

CREATE TABLE access_token (
    ehr TEXT NOT NULL,
    slot TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    fingerprint TEXT NOT NULL,
    renew_at BIGINT NOT NULL,
    PRIMARY KEY (ehr, slot)
);

CREATE TABLE user_grant (
    ehr TEXT NOT NULL,
    client TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    revision BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('held', 'refreshing', 'lost')),
    scope TEXT NOT NULL,
    granted_at BIGINT NOT NULL,
    refreshed_at BIGINT NOT NULL,
    expires_at BIGINT,
    told TEXT,
    PRIMARY KEY (ehr, client)
);

CREATE TABLE seen_expiry (
    ehr TEXT NOT NULL,
    what TEXT NOT NULL,
    name TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (ehr, what, name)
);
