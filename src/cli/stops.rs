//! `outreach stop` and `outreach start`: everything, a program or a channel.

use clap::Args;

use super::exit::{Ended, Failure};
use super::{Common, print, who};
use crate::app::App;
use crate::outreach::channel::ChannelKind;
use crate::store::stops::{self, Scope};

/// Stop all outreach, a program or a channel, until it is let go on
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage outreach stop --all --why wrong-text
  fhir-engage outreach stop --program visit-confirm --why wrong-text
  fhir-engage outreach stop --channel email --why mail-server-moves

What comes due meanwhile waits. It is judged anew when outreach goes on: what is still timely goes then; what is of no use any
more, or was overtaken by a later step, is not sent and says why. At most what a worker has in its hand still goes.")]
pub(super) struct Stop {
    #[command(flatten)]
    what: What,
    /// Why: whoever finds it stopped will want to know
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Who [default: the user of this machine]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// Let go on what was stopped; without a name, list what is
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage outreach start                            tell what is stopped
  fhir-engage outreach start --program visit-confirm
  fhir-engage outreach start --all                      ends a stop of everything, and no other")]
pub(super) struct Start {
    #[command(flatten)]
    what: What,
    /// Who [default: the user of this machine]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// What is stopped.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct What {
    /// Everything
    #[arg(long)]
    all: bool,
    /// One program
    #[arg(long, value_name = "PROGRAM")]
    program: Option<String>,
    /// One channel
    #[arg(long, value_name = "CHANNEL", value_parser = ChannelKind::ALL.map(ChannelKind::as_str))]
    channel: Option<String>,
}

impl What {
    fn of(self, app: &App) -> Result<Option<(Scope, String)>, Failure> {
        Ok(match (self.all, self.program, self.channel) {
            (true, _, _) => Some((Scope::All, String::new())),
            (_, Some(id), _) => {
                super::preferences::known_program(app, &id)?;
                Some((Scope::Program, id))
            }
            (_, _, Some(name)) => Some((Scope::Channel, name)),
            _ => None,
        })
    }
}

fn named((scope, name): &(Scope, String)) -> String {
    if *scope == Scope::All { "all outreach".to_owned() } else { format!("{} {name}", scope.as_str()) }
}

impl Stop {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        let Some(what) = self.what.of(app)? else { return Err(Failure::usage("say what: --all, --program PROGRAM or --channel CHANNEL")) };
        if self.why.trim().is_empty() {
            return Err(Failure::usage("--why is empty: whoever finds it stopped will want to know"));
        }
        let (by, why, now, of) = (who::who(self.by), self.why, app.clock.now(), what.clone());
        let begun = app.store.write("stop outreach", move |conn| stops::begin(conn, (of.0, &of.1), &why, &by, now)).await?;
        let state = if begun { "is stopped; `fhir-engage outreach start` lets it go on" } else { "was stopped already" };
        tell(app, common, &format!("{} {state}", named(&what))).await
    }
}

impl Start {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        let Some(what) = self.what.of(app)? else { return tell(app, common, "").await };
        let (by, now, of) = (who::who(self.by), app.clock.now(), what.clone());
        let ended = app.store.write("start outreach", move |conn| stops::end(conn, (of.0, &of.1), &by, now)).await?;
        if !ended {
            return Err(Failure::problem(format!("{} is not stopped; `fhir-engage outreach start` tells what is", named(&what))));
        }
        tell(app, common, &format!("{} goes on", named(&what))).await
    }
}

/// What is stopped now.
async fn tell(app: &App, common: &Common, says: &str) -> Result<Ended, Failure> {
    let all = app.store.read(stops::in_force).await?;
    if common.json {
        let row = |s: &stops::Stop| serde_json::json!({ "scope": s.scope, "name": s.name, "why": s.why, "by": s.stopped_by, "since": print::instant(s.stopped_at) });
        print::json(&serde_json::json!({ "stopped": all.iter().map(row).collect::<Vec<_>>() }));
        return Ok(Ended::Well);
    }
    if !says.is_empty() {
        print::line(says);
    } else if all.is_empty() {
        print::note("nothing is stopped");
    }
    let mut table = print::Table::new(&["WHAT", "NAME", "WHY", "BY", "SINCE"]);
    for s in all {
        table.row([s.scope, s.name, s.why, s.stopped_by, print::instant(s.stopped_at)]);
    }
    table.print();
    Ok(Ended::Well)
}
