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
        reconciled_at -> Nullable<BigInt>,
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
        paused_until -> Nullable<BigInt>,
        note -> Nullable<Text>,
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
    pending_own (resource) {
        resource -> BigInt,
    }
}

diesel::table! {
    segment_count (segment) {
        segment -> BigInt,
        unknown -> BigInt,
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
        reads -> Nullable<BigInt>,
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
        unknown -> Nullable<Binary>,
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
    membership_day (segment, day) {
        segment -> BigInt,
        day -> BigInt,
        entered -> BigInt,
        exited -> BigInt,
        held -> BigInt,
        released -> BigInt,
        unknown -> Nullable<BigInt>,
    }
}

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
    patient_label (record) {
        record -> BigInt,
        family -> Text,
        given -> Text,
        born -> Text,
        shown -> Text,
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

diesel::table! {
    schedule (ehr, rtype) {
        ehr -> Text,
        rtype -> Text,
        timing -> Text,
        set_at -> BigInt,
        set_by -> Text,
    }
}

diesel::table! {
    sync_turn (ehr, rtype) {
        ehr -> Text,
        rtype -> Text,
        served_at -> Nullable<BigInt>,
        failures -> BigInt,
        failing_since -> Nullable<BigInt>,
        failed_at -> Nullable<BigInt>,
        failure -> Nullable<Text>,
        retry_at -> Nullable<BigInt>,
        wanted_at -> Nullable<BigInt>,
        wanted_by -> Nullable<Text>,
        expected -> Nullable<BigInt>,
    }
}

diesel::table! {
    sync_pause (id) {
        id -> BigInt,
        ehr -> Text,
        rtype -> Text,
        why -> Text,
        paused_at -> BigInt,
        paused_by -> Text,
        resumed_at -> Nullable<BigInt>,
        resumed_by -> Nullable<Text>,
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
    drop_file (id) {
        id -> BigInt,
        ehr -> Text,
        drop_name -> Text,
        file -> Text,
        hash -> Text,
        size -> BigInt,
        modified_at -> BigInt,
        state -> Text,
        seen_at -> BigInt,
        ended_at -> Nullable<BigInt>,
        moved -> Bool,
        lines -> BigInt,
        stored -> BigInt,
        unchanged -> BigInt,
        superseded -> BigInt,
        ignored -> BigInt,
        quarantined -> BigInt,
        missing -> BigInt,
        gone -> BigInt,
        reason -> Nullable<Text>,
    }
}

diesel::table! {
    drop_status (ehr, drop_name) {
        ehr -> Text,
        drop_name -> Text,
        since -> BigInt,
        checked_at -> BigInt,
        last_taken_at -> Nullable<BigInt>,
        late_since -> Nullable<BigInt>,
        problem -> Nullable<Text>,
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
    export_job (id) {
        id -> BigInt,
        ehr -> Text,
        types -> Text,
        request -> Text,
        since -> Nullable<BigInt>,
        status_url -> Text,
        state -> Text,
        started_at -> BigInt,
        server_started_at -> Nullable<BigInt>,
        poll_at -> Nullable<BigInt>,
        progress -> Nullable<Text>,
        failures -> BigInt,
        manifest -> Nullable<Text>,
        file -> BigInt,
        line -> BigInt,
        counted -> BigInt,
        partial -> Text,
    }
}

diesel::table! {
    export_seen (job, rtype, file, line) {
        job -> BigInt,
        rtype -> Text,
        file -> BigInt,
        line -> BigInt,
        ids -> Binary,
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

diesel::table! {
    patient_read (ehr, patient) {
        ehr -> Text,
        patient -> Text,
        asked_at -> BigInt,
        taken_by -> Nullable<Text>,
        taken_until -> Nullable<BigInt>,
        answered_at -> Nullable<BigInt>,
        outcome -> Nullable<Text>,
        told -> Nullable<Text>,
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

diesel::table! {
    refresh_request (ehr, rtype, fhir_id) {
        ehr -> Text,
        rtype -> Text,
        fhir_id -> Text,
        asked_by -> Text,
        asked_at -> BigInt,
        generation -> BigInt,
        due_at -> BigInt,
        tries -> BigInt,
    }
}

diesel::joinable!(attempt -> patient (patient));
diesel::joinable!(attempt -> enrolment (enrolment));
diesel::joinable!(writeback -> attempt (attempt));
diesel::joinable!(writeback_item -> attempt (attempt));
diesel::joinable!(fact -> patient (patient));
diesel::joinable!(alert_delivery -> alert (alert));
diesel::allow_tables_to_appear_in_same_query!(alert, alert_delivery);
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
