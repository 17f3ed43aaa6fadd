//! `segments export`: a segment for other systems.

use super::super::exit::{Ended, Failure};
use crate::app::App;
use crate::facade::group::{self, LONGEST_PAGE};

/// How a segment is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in super::super) enum Format {
    /// A FHIR R4 Group with all members
    Group,
}

pub(super) async fn export(app: &App, id: &str, format: Format) -> Result<Ended, Failure> {
    match format {
        Format::Group => whole_group(app, id).await,
    }
}

async fn whole_group(app: &App, id: &str) -> Result<Ended, Failure> {
    let page = |after: i64| {
        let id = id.to_owned();
        app.store.snapshot(move |conn| group::read(conn, &id, after, LONGEST_PAGE))
    };
    let Some(mut whole) = page(i64::MIN).await? else { return Err(super::no_such_segment(app, id)) };
    while let Some(after) = whole.next() {
        let Some(later) = page(after).await? else { break };
        whole.join(later);
    }
    let bytes = group::render(&whole).map_err(|e| Failure::problem(e.to_string()))?;
    super::super::print::line(&String::from_utf8_lossy(&bytes));
    Ok(Ended::Well)
}
