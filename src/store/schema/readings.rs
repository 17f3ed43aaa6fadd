//! How types of an EHR are read: states, runs, turns, pauses, exports, drop folders, and of whom a type is not known.

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
