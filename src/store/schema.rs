//! The tables as diesel sees them. The same for both engines: ids and codes are text, instants are microseconds in BIGINT, bodies are
//! binary. `migrations/` is the source; `tests/it/schema_parity.rs` holds the two migration sets and this file together.

diesel::table! {
    installation (name) {
        name -> Text,
        value -> Text,
    }
}

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
    lease (name) {
        name -> Text,
        owner -> Text,
        token -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    sync_state (ehr, rtype) {
        ehr -> Text,
        rtype -> Text,
        strategy -> Text,
        fingerprint -> Text,
        high_water -> Nullable<BigInt>,
        resume -> Nullable<Text>,
        run -> Nullable<BigInt>,
        as_of -> Nullable<BigInt>,
        by_patient -> Nullable<Bool>,
    }
}

diesel::table! {
    sync_run (id) {
        id -> BigInt,
        ehr -> Text,
        rtype -> Text,
        strategy -> Text,
        state -> Text,
        started_at -> BigInt,
        server_started_at -> Nullable<BigInt>,
        ended_at -> Nullable<BigInt>,
        partial -> Bool,
        failure -> Nullable<Text>,
        pages -> BigInt,
        found -> BigInt,
        stored -> BigInt,
        unchanged -> BigInt,
        superseded -> BigInt,
        quarantined -> BigInt,
        units_done -> Nullable<BigInt>,
        units_of -> Nullable<BigInt>,
        gone -> Nullable<BigInt>,
    }
}

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
    quarantine (id) {
        id -> BigInt,
        ehr -> Text,
        rtype -> Nullable<Text>,
        fhir_id -> Nullable<Text>,
        origin -> Text,
        code -> Text,
        reason -> Text,
        body -> Binary,
        body_hash -> Binary,
        first_seen_at -> BigInt,
        last_seen_at -> BigInt,
        times_seen -> BigInt,
        released_at -> Nullable<BigInt>,
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
    }
}

diesel::table! {
    pending_person (person) {
        person -> BigInt,
        generation -> BigInt,
        reads -> BigInt,
        since -> BigInt,
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

diesel::table! {
    segment (number) {
        number -> BigInt,
        id -> Text,
        version -> BigInt,
        source -> Text,
        hash -> Text,
        changed_at -> BigInt,
        retired_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    definition (number) {
        number -> BigInt,
        kind -> Text,
        id -> Text,
        version -> BigInt,
        rollout -> BigInt,
        source -> Text,
        hash -> Text,
        catalogue -> BigInt,
        state -> Text,
        staged_at -> BigInt,
        current_from -> Nullable<BigInt>,
        current_until -> Nullable<BigInt>,
        ended_by -> Nullable<BigInt>,
    }
}

diesel::table! {
    rollout (number) {
        number -> BigInt,
        kind -> Text,
        back_to -> Nullable<BigInt>,
        state -> Text,
        after_person -> BigInt,
        persons -> BigInt,
        entries -> BigInt,
        exits -> BigInt,
        begun_at -> BigInt,
        flipped_at -> Nullable<BigInt>,
        ended_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    membership_step (rollout, person, segment) {
        rollout -> BigInt,
        person -> BigInt,
        segment -> BigInt,
        version -> BigInt,
        before -> Nullable<Text>,
        after -> Nullable<Text>,
        reasons -> Binary,
    }
}

diesel::table! {
    assignment (person) {
        person -> BigInt,
        evaluated_at -> BigInt,
        wake_at -> Nullable<BigInt>,
        events -> BigInt,
    }
}

diesel::table! {
    membership (person, segment) {
        person -> BigInt,
        segment -> BigInt,
        version -> BigInt,
        state -> Text,
        since -> BigInt,
        entry -> BigInt,
        reasons -> Binary,
    }
}

diesel::table! {
    membership_event (person, number) {
        person -> BigInt,
        number -> BigInt,
        segment -> BigInt,
        version -> BigInt,
        before -> Nullable<Text>,
        after -> Nullable<Text>,
        effective_at -> BigInt,
        recorded_at -> BigInt,
        reasons -> Binary,
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
    roster (ehr, entry) {
        ehr -> Text,
        entry -> Text,
        patient -> Nullable<Text>,
        listed_at -> BigInt,
    }
}

diesel::table! {
    coverage_hole (ehr, patient, rtype) {
        ehr -> Text,
        patient -> Text,
        rtype -> Text,
        why -> Text,
        since -> BigInt,
        known_up_to -> Nullable<BigInt>,
    }
}

diesel::table! {
    missing (ehr, rtype, fhir_id) {
        ehr -> Text,
        rtype -> Text,
        fhir_id -> Text,
        missed_at -> BigInt,
        read_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    visit (ehr, fhir_id) {
        ehr -> Text,
        fhir_id -> Text,
        starts_at -> BigInt,
    }
}

diesel::joinable!(attempt -> patient (patient));
diesel::joinable!(attempt -> enrolment (enrolment));
diesel::joinable!(writeback -> attempt (attempt));
diesel::joinable!(writeback_item -> attempt (attempt));
diesel::joinable!(fact -> patient (patient));
diesel::allow_tables_to_appear_in_same_query!(
    attempt,
    patient,
    enrolment,
    writeback,
    writeback_item,
    fact,
    person,
    segment,
    membership,
    membership_event,
    verdict,
    assignment,
    pending_person,
    pending_outreach
);
