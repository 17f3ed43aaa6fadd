//! What is known of an EHR and shared by all nodes: its profile and statement, keys, tokens, grants, and how fast it may be asked.

diesel::table! {
    ehr (id) {
        id -> Text,
        profile -> Text,
        revision -> BigInt,
        added_at -> BigInt,
    }
}

diesel::table! {
    signing_key (kid) {
        kid -> Text,
        alg -> Text,
        state -> Text,
        sealed -> Binary,
        public_jwk -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    ehr_statement (ehr) {
        ehr -> Text,
        stated -> Text,
        seen_at -> BigInt,
        accepted -> Text,
        accepted_at -> BigInt,
        accepted_by -> Nullable<Text>,
        drifted_at -> Nullable<BigInt>,
        problems -> BigInt,
        notes -> BigInt,
        failure -> Nullable<Text>,
        failed_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    proof (ehr, subject) {
        ehr -> Text,
        subject -> Text,
        holds -> Bool,
        seen_at -> BigInt,
    }
}

diesel::table! {
    ehr_key (ehr, client, kid) {
        ehr -> Text,
        client -> Text,
        kid -> Text,
        state -> Text,
        since -> BigInt,
        try_after -> BigInt,
        refusals -> BigInt,
        told -> Nullable<Text>,
    }
}

diesel::table! {
    access_token (ehr, slot) {
        ehr -> Text,
        slot -> Text,
        sealed -> Binary,
        fingerprint -> Text,
        renew_at -> BigInt,
    }
}

diesel::table! {
    user_grant (ehr, client) {
        ehr -> Text,
        client -> Text,
        sealed -> Binary,
        revision -> BigInt,
        state -> Text,
        scope -> Text,
        granted_at -> BigInt,
        refreshed_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        told -> Nullable<Text>,
    }
}

diesel::table! {
    seen_expiry (ehr, what, name) {
        ehr -> Text,
        what -> Text,
        name -> Text,
        expires_at -> BigInt,
        seen_at -> BigInt,
    }
}

diesel::table! {
    pace (name) {
        name -> Text,
        next_at -> BigInt,
        held_until -> Nullable<BigInt>,
        throttled_at -> Nullable<BigInt>,
        share -> BigInt,
        share_since -> BigInt,
        learned -> Nullable<BigInt>,
        learned_since -> Nullable<BigInt>,
        minute -> BigInt,
        in_minute -> BigInt,
        in_minute_before -> BigInt,
        failures -> BigInt,
        opened -> BigInt,
        open_until -> Nullable<BigInt>,
        probe_by -> Nullable<Text>,
        probe_until -> Nullable<BigInt>,
    }
}

diesel::table! {
    pace_use (name, span) {
        name -> Text,
        span -> BigInt,
        used -> BigInt,
    }
}

diesel::table! {
    pace_seat (name, node) {
        name -> Text,
        node -> Text,
        seats -> BigInt,
        wanted -> BigInt,
        since -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    subscription (id) {
        id -> BigInt,
        ehr -> Text,
        rtype -> Text,
        topic -> Text,
        manner -> Text,
        request -> Text,
        state -> Text,
        token_hash -> Text,
        sealed -> Binary,
        remote_id -> Nullable<Text>,
        asked_at -> BigInt,
        ends_at -> Nullable<BigInt>,
        heartbeat_secs -> Nullable<BigInt>,
        heard_at -> Nullable<BigInt>,
        event_at -> Nullable<BigInt>,
        events -> BigInt,
        last_number -> Nullable<BigInt>,
        missing_from -> Nullable<BigInt>,
        missing_to -> Nullable<BigInt>,
        in_doubt -> Bool,
        look_at -> BigInt,
        reread_at -> Nullable<BigInt>,
        reread_due -> Nullable<BigInt>,
        failures -> BigInt,
        failure -> Nullable<Text>,
    }
}
