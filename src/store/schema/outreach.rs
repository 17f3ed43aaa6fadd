//! What is said to patients, what they answer, and what is owed to the chart of it.

diesel::table! {
    outreach_stop (id) {
        id -> BigInt,
        scope -> Text,
        name -> Text,
        why -> Text,
        stopped_at -> BigInt,
        stopped_by -> Text,
        ended_at -> Nullable<BigInt>,
        ended_by -> Nullable<Text>,
    }
}

diesel::table! {
    program (id, version) {
        id -> Text,
        version -> BigInt,
        source -> Text,
        hash -> Text,
        current -> Bool,
        changed_at -> BigInt,
    }
}

diesel::table! {
    enrolment (id) {
        id -> BigInt,
        program -> Text,
        person -> BigInt,
        anchor -> Text,
        entry -> BigInt,
        state -> Text,
        entered_at -> BigInt,
        ended_at -> Nullable<BigInt>,
        ended_why -> Nullable<Text>,
        carried_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    pending_outreach (person) {
        person -> BigInt,
        generation -> BigInt,
        since -> BigInt,
    }
}

diesel::table! {
    attempt (id) {
        id -> Text,
        enrolment -> BigInt,
        program -> Text,
        program_version -> BigInt,
        step -> Text,
        rung -> BigInt,
        anchor_revision -> Text,
        about -> Nullable<Text>,
        person -> BigInt,
        patient -> BigInt,
        state -> Text,
        outcome -> Nullable<Text>,
        due_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        channel -> Nullable<Text>,
        contact_hash -> Nullable<Binary>,
        template -> Text,
        language -> Nullable<Text>,
        action -> Text,
        message -> Nullable<Binary>,
        token -> BigInt,
        provider_ref -> Nullable<Text>,
        failure -> Nullable<Text>,
        sent_at -> Nullable<BigInt>,
        settle_by -> Nullable<BigInt>,
        finished_at -> Nullable<BigInt>,
        called_at -> Nullable<BigInt>,
        called_by -> Nullable<Text>,
    }
}

diesel::table! {
    verdict (attempt, number) {
        attempt -> Text,
        number -> BigInt,
        judged_at -> BigInt,
        outcome -> Text,
        hold_until -> Nullable<BigInt>,
        facts_as_of -> Nullable<BigInt>,
        reasons -> Binary,
    }
}

diesel::table! {
    writeback (id) {
        id -> Text,
        attempt -> Text,
        kind -> Text,
        revision -> BigInt,
        ehr -> Text,
        patient -> BigInt,
        number -> BigInt,
        state -> Text,
        token -> BigInt,
        tries -> BigInt,
        next_at -> BigInt,
        remote_id -> Nullable<Text>,
        remote_version -> Nullable<Text>,
        loss -> Text,
        failure -> Nullable<Text>,
        owed_at -> BigInt,
        settled_at -> Nullable<BigInt>,
        carrier -> Nullable<Text>,
        differences -> Nullable<Text>,
        put_as -> Nullable<Text>,
        unanswered -> BigInt,
    }
}

diesel::table! {
    writeback_item (writeback, attempt) {
        writeback -> Text,
        attempt -> Text,
    }
}

diesel::table! {
    answer (attempt, number) {
        attempt -> Text,
        number -> BigInt,
        channel -> Text,
        external_id -> Nullable<Text>,
        meaning -> Text,
        barrier -> Nullable<Text>,
        needs_action -> Bool,
        message -> Nullable<Binary>,
        received_at -> BigInt,
        recorded_by -> Text,
        settled_at -> Nullable<BigInt>,
        settled_by -> Nullable<Text>,
    }
}
