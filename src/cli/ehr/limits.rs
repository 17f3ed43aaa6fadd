//! `ehr limits`: what an EHR may be asked for, by whose word, and how it stands with that now.

use domain::model::EhrId;

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use crate::app::{App, Standing};
use crate::ehr::limits::Told;
use crate::ehr::pace::Breaker;

pub(super) async fn limits(app: &App, common: &Common, id: &EhrId) -> Result<Ended, Failure> {
    let standing = app.standing(id).await?;
    if common.json {
        let mut value = serde_json::to_value(&standing).unwrap_or_default();
        if let (Some(map), Some(standing)) = (value.as_object_mut(), &standing) {
            map.insert("ehr".to_owned(), id.as_str().into());
            let waits = standing
                .paused
                .iter()
                .map(|w| serde_json::json!({ "who": w.who, "until": print::instant(w.until.micros()), "why": w.why }));
            map.insert("paused".to_owned(), waits.collect());
        }
        print::json(&value);
        return Ok(Ended::Well);
    }
    let Some(standing) = standing else {
        print::note(&format!("{id} delivers files: nothing is asked of it"));
        return Ok(Ended::Well);
    };
    tell(&standing);
    Ok(Ended::Well)
}

fn tell(standing: &Standing) {
    let limits = &standing.limits;
    let mut table = print::Table::new(&["WHAT", "LIMIT", "NOW", "BY WHOSE WORD"]);
    let budget = |told: &Option<Told<u32>>| {
        told.as_ref().map_or_else(|| ("none".to_owned(), "-".to_owned()), |t| (t.limit.to_string(), t.source.clone()))
    };
    let (rate, source) = limits.frequency.as_ref().map_or_else(
        || ("none".to_owned(), if standing.is_learned { "learned from its refusals".to_owned() } else { "-".to_owned() }),
        |t| (number(t.limit.per_second), t.source.clone()),
    );
    table.row(["requests a second".to_owned(), rate, standing.per_second_now.map_or_else(|| "-".to_owned(), number), source]);
    let (limit, source) = budget(&limits.per_hour);
    table.row(["requests in an hour".to_owned(), limit, format!("{} used", standing.used_in_hour), source]);
    let (limit, source) = budget(&limits.per_day);
    table.row(["requests in a day".to_owned(), limit, format!("{} used", standing.used_in_day), source]);
    let nodes = print::plural(standing.nodes, "process").replace("processs", "processes");
    let now = format!("{} held by {nodes}", standing.on_their_way);
    table.row(["requests at once".to_owned(), limits.at_once.limit.to_string(), now, limits.at_once.source.clone()]);
    table.print();
    let breaker = match standing.breaker {
        Breaker::Closed => "closed: requests go out".to_owned(),
        Breaker::Open => format!("open after {} in a row", print::plural(usize::try_from(standing.failures).unwrap_or(0), "failure")),
        Breaker::HalfOpen => "half open: one request tries whether the EHR is back".to_owned(),
    };
    print::line(&format!("breaker: {breaker}"));
    for wait in &standing.paused {
        print::line(&format!("{} wait until {}: {}", name(wait.who), print::instant(wait.until.micros()), wait.why));
    }
    let shares: Vec<String> = standing.shares.iter().map(|(class, percent)| format!("{} {percent} %", name(*class))).collect();
    print::line(&format!("of the budgets of hour and day may be used by: {}", shares.join(", ")));
}

const fn name(class: crate::ehr::pace::Class) -> &'static str {
    match class {
        crate::ehr::pace::Class::Crawl => "syncs",
        crate::ehr::pace::Class::Read => "single reads and checks",
        crate::ehr::pace::Class::Write => "write-backs",
    }
}

/// At most three digits after the point, none that say nothing.
fn number(n: f64) -> String {
    let text = format!("{n:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
