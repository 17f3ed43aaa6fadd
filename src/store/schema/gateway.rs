//! The gateway's own: the installation, leases, who is signed in, what was seen and done, and what is wrong.

diesel::table! {
    installation (name) {
        name -> Text,
        value -> Text,
    }
}

diesel::table! {
    lease (name) {
        name -> Text,
        owner -> Text,
        token -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    alert (id) {
        id -> BigInt,
        kind -> Text,
        subject -> Text,
        says -> Text,
        remedy -> Text,
        opened_at -> BigInt,
        absent_since -> Nullable<BigInt>,
        closed_at -> Nullable<BigInt>,
        acknowledged_at -> Nullable<BigInt>,
        acknowledged_by -> Nullable<Text>,
        acknowledged_why -> Nullable<Text>,
    }
}

diesel::table! {
    alert_delivery (id) {
        id -> BigInt,
        alert -> BigInt,
        event -> Text,
        target -> Text,
        state -> Text,
        tries -> BigInt,
        owed_at -> BigInt,
        next_at -> BigInt,
        settled_at -> Nullable<BigInt>,
        said -> Nullable<Text>,
    }
}

diesel::table! {
    alert_condition (kind, subject) {
        kind -> Text,
        subject -> Text,
        says -> Text,
        remedy -> Text,
        since -> BigInt,
        holds_until -> Nullable<BigInt>,
    }
}

diesel::table! {
    session (id) {
        id -> Text,
        issuer -> Text,
        subject -> Text,
        name -> Nullable<Text>,
        fhir_user -> Nullable<Text>,
        ehr -> Nullable<Text>,
        roles -> Text,
        way -> Text,
        csrf -> Text,
        begun_at -> BigInt,
        seen_at -> BigInt,
        expires_at -> BigInt,
        note -> Nullable<Text>,
    }
}

diesel::table! {
    opening (handle) {
        handle -> Text,
        session -> Text,
        ehr -> Text,
        patient -> Text,
        roles -> Text,
        way -> Text,
        encounter -> Nullable<Text>,
        banner -> Bool,
        intent -> Nullable<Text>,
        tenant -> Nullable<Text>,
        context -> Nullable<Text>,
        granted -> Bool,
        verdict -> Text,
        asked_at -> Nullable<BigInt>,
        opened_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    sign_in (state) {
        state -> Text,
        browser -> Text,
        way -> Text,
        ehr -> Nullable<Text>,
        sealed -> Binary,
        begun_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    sign_in_link (token) {
        token -> Text,
        roles -> Text,
        made_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    audit (number) {
        number -> BigInt,
        at -> BigInt,
        who -> Text,
        roles -> Text,
        what -> Text,
        ehr -> Nullable<Text>,
        patient -> Nullable<Text>,
        opening -> Nullable<Text>,
        about -> Nullable<Text>,
        why -> Nullable<Text>,
        hash -> Binary,
    }
}

diesel::table! {
    audit_head (id) {
        id -> BigInt,
        number -> BigInt,
        hash -> Binary,
    }
}

diesel::table! {
    form_key (key) {
        key -> Text,
        at -> BigInt,
    }
}
