//! Segments, their definitions, and who is in them since when.

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
