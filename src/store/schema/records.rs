//! What was read, and whose it is: resources with their bytes, patients, persons, and the facts of them.

diesel::table! {
    dictionary (id) {
        id -> BigInt,
        rtype -> Text,
        bytes -> Binary,
    }
}

diesel::table! {
    resource (pk) {
        pk -> BigInt,
        ehr -> Text,
        rtype -> Text,
        fhir_id -> Text,
        version -> Nullable<Text>,
        last_updated -> Nullable<BigInt>,
        body -> Binary,
        dictionary -> Nullable<BigInt>,
        body_hash -> Binary,
        facts_hash -> Binary,
        projector -> BigInt,
        patients -> Text,
        received_at -> BigInt,
        gone_at -> Nullable<BigInt>,
        gone_why -> Nullable<Text>,
    }
}

diesel::table! {
    person (pk) {
        pk -> BigInt,
        contact_revision -> BigInt,
    }
}

diesel::table! {
    patient (pk) {
        pk -> BigInt,
        ehr -> Text,
        fhir_id -> Text,
        person -> BigInt,
        state -> Text,
        home -> Nullable<BigInt>,
        root -> Nullable<BigInt>,
    }
}

diesel::table! {
    patient_link (from_record, to_record, kind) {
        from_record -> BigInt,
        to_record -> BigInt,
        kind -> Text,
        since -> BigInt,
    }
}

diesel::table! {
    patient_identifier (record, token) {
        record -> BigInt,
        token -> Text,
        system -> Text,
    }
}

diesel::table! {
    person_word (id) {
        id -> BigInt,
        one -> BigInt,
        other -> BigInt,
        word -> Text,
        said_by -> Text,
        why -> Text,
        said_at -> BigInt,
    }
}

diesel::table! {
    person_review (record, reason) {
        record -> BigInt,
        reason -> Text,
        since -> BigInt,
    }
}

diesel::table! {
    patient_label (record) {
        record -> BigInt,
        family -> Text,
        given -> Text,
        born -> Text,
        shown -> Text,
    }
}

diesel::table! {
    fact (patient, resource) {
        patient -> BigInt,
        resource -> BigInt,
        rtype -> Text,
        fhir_id -> Text,
        version -> Nullable<Text>,
        facts -> Binary,
        own -> Nullable<Binary>,
    }
}

diesel::table! {
    own_attribute (hash) {
        hash -> Text,
        rtype -> Text,
        after_resource -> BigInt,
        done -> BigInt,
        total -> BigInt,
        begun_at -> BigInt,
        ended_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    derivation (rtype) {
        rtype -> Text,
        revision -> BigInt,
        after_resource -> BigInt,
        done -> BigInt,
        total -> BigInt,
        begun_at -> BigInt,
        ended_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    pending_facts (resource) {
        resource -> BigInt,
    }
}

diesel::table! {
    pending_own (resource) {
        resource -> BigInt,
    }
}

diesel::table! {
    visit (ehr, fhir_id) {
        ehr -> Text,
        fhir_id -> Text,
        starts_at -> BigInt,
    }
}

diesel::table! {
    preference (id) {
        id -> BigInt,
        person -> BigInt,
        scope -> Text,
        value -> Text,
        allowed -> Bool,
        source -> Text,
        recorded_at -> BigInt,
    }
}
