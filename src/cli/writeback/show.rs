//! `writeback show`: one write-back, or all of an attempt, in words.

use super::list::Row;
use crate::app::App;
use crate::cli::exit::{Ended, Failure};
use crate::cli::{Common, print};
use crate::store::writebacks;
use crate::writeback::explain::explain;

pub(super) async fn run(app: &App, common: &Common, id: &str) -> Result<Ended, Failure> {
    let wanted = id.to_owned();
    let rows = app
        .store
        .read(move |conn| {
            Ok(match writebacks::get(conn, &wanted)? {
                Some(row) => vec![row],
                None => writebacks::of_attempt(conn, &wanted)?,
            })
        })
        .await?;
    if rows.is_empty() {
        return Err(Failure::usage(format!(
            "there is no write-back and no attempt with one called {id}; list them with `fhir-engage writeback list`"
        )));
    }
    let now = app.clock.now();
    let told: Vec<(String, Row)> = rows.into_iter().map(|w| (explain(&w, now), Row::from(w))).collect();
    if common.json {
        let all: Vec<_> = told.iter().map(|(words, row)| serde_json::json!({ "write_back": row, "in_words": words })).collect();
        print::json(&all);
        return Ok(Ended::Well);
    }
    for (words, row) in told {
        print::line(&format!("{} ({} to {}): {}", row.id, row.kind, row.ehr, row.state));
        print::line(&format!("    {words}"));
    }
    Ok(Ended::Well)
}
