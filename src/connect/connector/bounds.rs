//! How much an EHR may be asked: what its vendor publishes, what is taken of it, and who shares it.

use super::{From, Known, Rows};
use crate::ehr::Limits;
use crate::ehr::limits::{Frequency, Told};

pub(super) fn limits(known: &Known<'_>, rows: &mut Rows) {
    let profile = known.profile;
    if let Some(base) = &profile.base_url {
        shared(known, &Limits::of(profile, base), rows);
    }
    if let Some(limit) = rows.preset.and_then(|p| p.register.limit.clone()) {
        rows.put("limits.published", limit.says, From::Preset).source = Some(limit.source);
    }
    let timeout = profile.timeout_secs.map_or(("60".to_owned(), From::Default), |t| (t.to_string(), From::Override));
    rows.put("limits.timeout_seconds", timeout.0, timeout.1);
    let vanish = profile.vanish_limit_percent.map_or(("20".to_owned(), From::Default), |t| (t.to_string(), From::Override));
    rows.put("limits.vanish_percent", vanish.0, vanish.1);
}

/// The limits that all nodes share, and all connections of the same name.
fn shared(known: &Known<'_>, limits: &Limits, rows: &mut Rows) {
    let profile = known.profile;
    rows.put("limits.shared_by", format!("all nodes, and all connections to {}", limits.name), From::Default);
    let frequency = limits.frequency.clone().map(|told| told.map(words));
    let count = |told: &Option<Told<u32>>| told.clone().map(|told| told.map(|n| n.to_string()));
    for (key, told, own, else_) in [
        ("limits.requests_per_second", frequency, profile.requests_per_second.is_some(), "as fast as it goes"),
        ("limits.requests_per_hour", count(&limits.per_hour), profile.requests_per_hour.is_some(), "no limit"),
        ("limits.requests_per_day", count(&limits.per_day), profile.requests_per_day.is_some(), "no limit"),
        ("limits.at_once", count(&Some(limits.at_once.clone())), profile.at_once.is_some(), "no limit"),
    ] {
        match told {
            Some(told) if own => rows.put(key, told.limit, From::Override),
            // What is no word of the operator's is half of what is published, or our own.
            Some(told) if told.is_published => {
                let row = rows.put(key, told.limit, From::Preset);
                row.source = Some(told.source);
                row
            }
            Some(told) => rows.put(key, told.limit, From::Default),
            None => rows.put(key, else_, From::Default),
        };
    }
}

fn words(Frequency { per_second, counted_over_secs }: Frequency) -> String {
    let rate = format!("{per_second:.3}");
    let rate = rate.trim_end_matches('0').trim_end_matches('.');
    match counted_over_secs {
        1 => rate.to_owned(),
        secs => format!("{rate}, counted over {secs} s"),
    }
}
