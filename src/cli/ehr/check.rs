//! `ehr check`: walks a connection and explains each result.

use domain::model::{EhrId, FhirId};

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use crate::app::App;
use crate::connect::outlook;
use crate::ehr::check::{self, Verdict};
use crate::writeback::Probed;
use crate::writeback::trial::Tried;

pub(super) async fn check(app: &App, common: &Common, id: &EhrId, deep: bool, test_patient: Option<String>) -> Result<Ended, Failure> {
    let profile = app.profile(id).await?;
    let parts = app.fresh_parts(id, &profile).await?;
    let patient = test_patient.as_deref().map(|p| FhirId::parse(p.trim_start_matches("Patient/")));
    let patient = patient.map(|p| p.ok_or_else(|| Failure::usage("--test-patient is a logical id, such as 4711"))).transpose()?;
    let mut report = check::check_with(&profile, &parts, patient.as_ref()).await;
    if !profile.files_only {
        check::try_launch(&mut report, &profile, &parts, app.config.web.external_url.as_ref()).await;
    }
    if deep && report.is_ok() && !profile.files_only {
        check::try_export(&mut report, &profile, &parts).await;
    }
    let charts = match report.is_ok() {
        // What its charts will show can be told only where it can be asked what it takes.
        true => Some(app.contract_now(id, false).await.map(|(contract, _)| outlook(&app.chart_site(), &contract))?),
        false => None,
    };
    let blind = match &charts {
        Some(_) => Some(app.blind_spots(id, false).await?),
        None => None,
    };
    let deep = match patient.filter(|_| deep && report.is_ok()) {
        Some(patient) => Some(app.probe(id, patient.as_str()).await?),
        None => None,
    };
    let writes = deep.as_ref().is_none_or(|(_, tried)| tried.written && tried.found != Some(false));
    let well = report.is_ok() && writes && charts.as_ref().is_none_or(|c| c.missing.is_empty());
    if common.json {
        let deep = deep.as_ref().map(|(probed, tried)| serde_json::json!({ "conditional_create": probed, "trial": tried }));
        let warnings = charts.as_ref().map(|c| c.warnings());
        print::json(&serde_json::json!({
            "ehr": id, "ok": well, "steps": report.steps, "charts": charts, "chart_warnings": warnings, "deep": deep, "blind_spots": blind,
        }));
        return Ok(Ended::well_if(well));
    }
    tell(&report);
    if let Some(charts) = &charts {
        print::line("");
        super::super::writeback::tell_outlook(charts);
    }
    if let Some((probed, tried)) = &deep {
        print::line("");
        tell_deep(probed, tried);
    }
    if let Some(blind) = &blind {
        print::line("");
        print::line(blind.to_string().trim_end());
    }
    Ok(Ended::well_if(well))
}

/// Prints what writing to a test patient showed.
fn tell_deep(probed: &Probed, tried: &Tried) {
    let held = match (probed.conditional_create, probed.why.as_deref()) {
        (Some(true), _) => "ok       conditional create: holds; write-backs need no search before them".to_owned(),
        (Some(false), why) => {
            format!("warning  conditional create: {}; every write-back is searched for first", why.unwrap_or("does not hold"))
        }
        (None, why) => format!("ok       conditional create: not used ({})", why.unwrap_or("it cannot be told")),
    };
    print::line(&held);
    let by = tried.carrier.map_or("nothing", |c| c.as_str());
    match (tried.written, tried.found, tried.why.as_deref()) {
        (true, Some(true), _) => print::line(&format!("ok       trial: written by {by} and found again")),
        (true, None, _) => {
            print::line(&format!("warning  trial: written by {by}; no search here can find it again, so a lost answer waits for a person"))
        }
        (true, Some(false), _) => print::line(&format!(
            "PROBLEM  trial: written by {by} and NOT found again at once: try it again, for some EHRs' searches show late what is new (write-backs wait for that); \
             else leave `finders` out that do not work, or ask the EHR's operator"
        )),
        (false, _, why) => print::line(&format!("PROBLEM  trial: not written: {}", why.unwrap_or("no reason was told"))),
    }
    if let Some(differences) = tried.differences.as_ref().and_then(|d| d.as_array()).filter(|d| !d.is_empty()) {
        let paths: Vec<&str> = differences.iter().filter_map(|d| d.get("path")?.as_str()).collect();
        print::line(&format!("warning  trial: the EHR did not keep as sent: {}", paths.join(", ")));
    }
    for left in probed.left.iter().chain(tried.remote.as_ref().filter(|_| !tried.marked)) {
        print::line(&format!("note     {left} stays in the test patient's chart; it says that it is a test"));
    }
}

/// Prints a walk, a step a line, the remedy below it.
pub(in crate::cli) fn tell(report: &check::Report) {
    for step in &report.steps {
        let mark = match step.verdict {
            Verdict::Ok => "ok      ",
            Verdict::Warning => "warning ",
            Verdict::Problem => "PROBLEM ",
        };
        print::line(&format!("{mark} {}: {}", step.name, step.says));
        if let Some(remedy) = &step.remedy {
            print::line(&format!("          {remedy}"));
        }
    }
}

/// A walk's steps as `check` lists them: level, step, what was found and what to do.
pub(in crate::cli) fn findings(report: &check::Report) -> impl Iterator<Item = (&'static str, &str, String)> {
    report.steps.iter().map(|step| {
        let level = match step.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem => "problem",
        };
        let remedy = step.remedy.as_ref().map(|r| format!("; {r}")).unwrap_or_default();
        (level, step.name.as_str(), format!("{}{remedy}", step.says))
    })
}
