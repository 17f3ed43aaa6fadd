//! The administrative routes for tests in another process: faults, the request log, counts, the clock,
//! merges. Only there when the configuration
//! says so, and without authentication: the sandbox holds made-up people only and listens on loopback.

use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde_json::json;

use crate::answer::Answer;
use crate::call::Call;
use crate::ehr::Ehr;
use crate::faults::Fault;
use crate::instant::{SECOND, format_instant};
use crate::merge::{MergeError, MergeManner};

#[derive(Deserialize)]
struct Advance {
    advance_seconds: i64,
}

#[derive(Deserialize)]
struct Merge {
    retired: String,
    survivor: String,
    manner: MergeManner,
}

#[derive(Deserialize)]
struct Unmerge {
    retired: String,
}

impl Ehr {
    pub(crate) fn administer(&self, call: &Call, rest: &str) -> Answer {
        match (call.method.as_str(), rest) {
            ("GET", "counts") => shown(&self.charts.counts()),
            ("GET", "requests") => shown(&self.log.all()),
            ("GET", "faults") => shown(&self.faults.unused()),
            ("DELETE", "faults") => {
                self.faults.clear();
                Answer::empty(204)
            }
            ("POST", "faults") => match serde_json::from_slice::<Fault>(&call.body) {
                Ok(fault) => {
                    self.faults.plant(fault);
                    Answer::empty(204)
                }
                Err(error) => Answer::json(400, json!({ "error": error.to_string() }).to_string()),
            },
            ("POST", "merge") => match serde_json::from_slice::<Merge>(&call.body) {
                Ok(wanted) => done(self.merge(&wanted.retired, &wanted.survivor, wanted.manner)),
                Err(error) => Answer::json(400, json!({ "error": error.to_string() }).to_string()),
            },
            ("POST", "unmerge") => match serde_json::from_slice::<Unmerge>(&call.body) {
                Ok(wanted) => done(self.unmerge(&wanted.retired)),
                Err(error) => Answer::json(400, json!({ "error": error.to_string() }).to_string()),
            },
            ("POST", "statement") => {
                self.pretend(Some(&String::from_utf8_lossy(&call.body)));
                Answer::empty(204)
            }
            ("DELETE", "statement") => {
                self.pretend(None);
                Answer::empty(204)
            }
            ("GET", "clock") => shown(&json!({ "now": format_instant(self.now()) })),
            ("POST", "clock") => match serde_json::from_slice::<Advance>(&call.body) {
                Ok(Advance { advance_seconds }) => {
                    self.offset.fetch_add(advance_seconds.saturating_mul(SECOND), Ordering::Relaxed);
                    shown(&json!({ "now": format_instant(self.now()) }))
                }
                Err(error) => Answer::json(400, json!({ "error": error.to_string() }).to_string()),
            },
            _ => Answer::json(
                404,
                json!({ "error": "GET or POST one of counts, requests, faults, clock, merge, unmerge, statement" }).to_string(),
            ),
        }
    }
}

fn done(result: Result<(), MergeError>) -> Answer {
    match result {
        Ok(()) => Answer::empty(204),
        Err(error) => Answer::json(409, json!({ "error": error.to_string() }).to_string()),
    }
}

fn shown(value: &impl serde::Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(text) => Answer::json(200, text),
        Err(_) => Answer::empty(500),
    }
}
