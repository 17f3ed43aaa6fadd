//! `import`: NDJSON files into the store, then segments.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;

use super::exit::{Ended, Failure};
use super::{Common, ehr, print};
use crate::app::App;
use crate::store::leases::Term;
use crate::sync::Holder;
use crate::sync::import::{self, ImportError, Report};
use crate::worker::Owner;

/// Import NDJSON files, gzipped or not
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage ehr add nightly --files
  fhir-engage import --ehr nightly export/
  fhir-engage import --ehr nightly Patient.ndjson.gz Appointment.ndjson.gz --json
  zcat *.ndjson.gz | fhir-engage import --ehr nightly -

What cannot be read is put aside with its bytes, its reason and its place (`fhir-engage sync quarantine list`); the rest is stored.
Lines read = stored + unchanged + superseded + ignored + quarantined.")]
pub(super) struct Import {
    /// The EHR that the files are of
    #[arg(long, value_name = "ID")]
    ehr: String,
    /// Files, folders, or - for standard input
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// How many lines may be put aside before the exit code is 1
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_bad: u64,
    /// Leave it to the next run of the segment stage to evaluate who changed
    #[arg(long)]
    no_segments: bool,
}

impl Import {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let id = ehr::ehr_id(&self.ehr)?;
        let app = Arc::new(common.open()?);
        let stop = Arc::new(AtomicBool::new(false));
        super::signals::stop_at(&stop);
        let (shared, told, paths) = (Arc::clone(&app), Arc::clone(&stop), self.paths);
        let report = tokio::task::spawn_blocking(move || {
            let bar = super::progress::spinner("lines");
            let owner = shared.owner.clone();
            let holder = Holder {
                owner: owner.as_str(),
                term: Term(shared.config.worker.lease),
                is_dead: |other| Owner::this_process().is_dead(other),
            };
            let request = import::Request { ehr: &id, paths: &paths };
            let done = import::run(&shared.store, shared.clock.as_ref(), holder, request, &told, &|p| bar.set_position(p.lines));
            bar.finish_and_clear();
            done
        })
        .await
        .map_err(|_| Failure::problem("the import ended unexpectedly; run the same command again"))?
        .map_err(failure)?;
        let segments = if self.no_segments || report.interrupted { None } else { Some(evaluate(&app, &stop).await?) };
        let bad = report.quarantined;
        if common.json {
            let mut value = serde_json::to_value(&report).unwrap_or_default();
            if let (Some(map), Some(segments)) = (value.as_object_mut(), &segments) {
                map.insert("segments".to_owned(), serde_json::json!(segments));
            }
            print::json(&value);
        } else {
            tell(&report);
            if let Some(s) = &segments {
                print::line(&format!("segments: {} persons evaluated, {} memberships changed", s.persons, s.changes));
            }
        }
        for problem in &report.problems {
            eprintln!("{problem}");
        }
        if report.interrupted {
            eprintln!("stopped before the end; what was stored stays, and the same command goes on from there");
        }
        Ok(Ended::well_if(bad <= self.max_bad && !report.interrupted))
    }
}

fn failure(error: ImportError) -> Failure {
    let text = crate::app::told(&error);
    match error {
        ImportError::NoPaths | ImportError::StdinTwice | ImportError::UnknownEhr(_) => Failure::usage(text),
        _ => Failure::problem(text),
    }
}

async fn evaluate(app: &Arc<App>, stop: &Arc<AtomicBool>) -> Result<crate::segments::task::Report, Failure> {
    let bar = super::progress::spinner("persons evaluated");
    let shown = bar.clone();
    let done = app.assign(stop, Arc::new(move |n| shown.set_position(n))).await;
    bar.finish_and_clear();
    Ok(done?)
}

fn tell(report: &Report) {
    let ignored: u64 = report.ignored.values().sum();
    let seconds = report.seconds.max(0.001);
    print::line(&format!(
        "{} from {} in {:.1} s ({:.0} a second, {:.1} MB/s)",
        print::plural(usize::try_from(report.lines).unwrap_or(usize::MAX), "line"),
        print::plural(usize::try_from(report.files).unwrap_or(usize::MAX), "file"),
        report.seconds,
        to_f64(report.lines) / seconds,
        to_f64(report.bytes) / 1e6 / seconds
    ));
    let mut table = print::Table::new(&["WHAT", "LINES"]);
    for (what, n) in [
        ("stored", report.stored),
        ("unchanged", report.unchanged),
        ("superseded", report.superseded),
        ("ignored", ignored),
        ("quarantined", report.quarantined),
    ] {
        table.row([what.to_owned(), n.to_string()]);
    }
    table.print();
    if ignored > 0 {
        let types: Vec<String> = report.ignored.iter().map(|(t, n)| format!("{t} {n}")).collect();
        print::line(&format!("ignored, since these types are not synced: {}", types.join(", ")));
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
const fn to_f64(n: u64) -> f64 {
    n as f64
}
