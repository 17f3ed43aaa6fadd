//! Bulk Data Access (versions 1 to 3 and the ballot of 4): kick-off, status, manifest, files, delete. Owns the jobs, in memory only: a restart
//! forgets them, as servers do. What is exported is fixed at the kick-off; a job is ready when its status is asked for a second time.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::answer::{Answer, Body, Reply, outcome};
use crate::call::Call;
use crate::ehr::{Ehr, markup, unauthorized};
use crate::faults::FaultKind;
use crate::flavour::{ExportLevel, Exporting, Served};
use crate::instant::{format_instant, parse_range};
use crate::records::{Entry, TYPES, known_type};
use crate::search::parse;

/// Resources of one file.
const LINES: usize = 1_000;
const NDJSON: &str = "application/fhir+ndjson";

/// The jobs.
#[derive(Default)]
pub(crate) struct Exports(Mutex<Jobs>);

#[derive(Default)]
struct Jobs {
    made: u64,
    all: Vec<Job>,
}

struct Job {
    id: u64,
    request: String,
    made: i64,
    polled: u32,
    /// Addresses of files hold it: those of an earlier one are not taken any more.
    generation: u32,
    files: Vec<File>,
}

#[derive(Clone)]
struct File {
    /// `output`, `deleted` or `error`.
    role: &'static str,
    kind: &'static str,
    lines: Vec<Arc<str>>,
}

/// What is exported of whom.
struct Asked {
    level: ExportLevel,
    group: Option<String>,
    types: Vec<&'static str>,
    since: Option<i64>,
    filters: Vec<(String, String)>,
}

impl Exports {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many jobs were not deleted.
    pub(crate) fn count(&self) -> usize {
        self.jobs().all.len()
    }
}

impl Ehr {
    /// The answer to a request about exports; `None` where it is about something else.
    pub(crate) fn export(&self, call: &Call, rest: &str, now: i64) -> Option<Reply> {
        let segments: Vec<&str> = rest.split('/').collect();
        let kicked = match segments.as_slice() {
            ["$export"] => Some((ExportLevel::System, None)),
            ["Patient", "$export"] => Some((ExportLevel::Patient, None)),
            ["Group", id, "$export"] => Some((ExportLevel::Group, Some((*id).to_owned()))),
            _ => None,
        };
        let job = |text: &str| text.parse::<u64>().ok();
        Some(match (kicked, segments.as_slice()) {
            (Some((level, group)), _) => self.kick_off(call, level, group, now).into(),
            (None, ["export-status", id]) => self.status(call, job(id), now).into(),
            (None, ["$export-poll-location"]) => {
                let id = call.query_pairs().into_iter().find(|(name, _)| name == "job_id").and_then(|(_, id)| job(&id));
                self.status(call, id, now).into()
            }
            (None, ["export-files", id, generation, at]) => self.file(call, job(id), job(generation), job(at), now).into(),
            _ => return None,
        })
    }

    fn kick_off(&self, call: &Call, level: ExportLevel, group: Option<String>, now: i64) -> Answer {
        let Some(manner) = self.manner.export.filter(|m| m.levels.contains(&level)) else {
            return Answer::error(404, "not-supported", "this operation is not offered");
        };
        if let Some(refusal) = self.may_export(call, &[], now) {
            return refusal;
        }
        let by_post = call.method == "POST";
        let post_only = self.fault(call, |k| *k == FaultKind::ExportPostOnly).is_some();
        let taken = if by_post { post_only || manner.post } else { call.method == "GET" && !post_only };
        if !taken {
            return Answer::error(405, "not-supported", "not by this method").with("Allow", if by_post { "GET" } else { "POST" });
        }
        if let Some(FaultKind::ExportRefused { status }) = self.fault(call, |k| matches!(k, FaultKind::ExportRefused { .. })) {
            return Answer::error(status, "forbidden", "exports are not open to this client");
        }
        if !call.header("prefer").is_some_and(|p| p.contains("respond-async")) {
            return Answer::error(400, "invalid", "Prefer: respond-async is needed");
        }
        let asked = match self.asked(call, manner, level, group) {
            Ok(asked) => asked,
            Err(answer) => return *answer,
        };
        if let Some(refusal) = self.may_export(call, &asked.types, now) {
            return refusal;
        }
        if asked.types.len() > 1 && self.fault(call, |k| *k == FaultKind::ExportTooLarge).is_some() {
            return Answer::error(413, "too-long", "the Group is too large for so many types");
        }
        let alone = manner.one_at_a_time || self.fault(call, |k| *k == FaultKind::ExportOneAtATime).is_some();
        if alone && self.exports.count() > 0 {
            return Answer::plain(429, "another export is in progress").with("Retry-After", "3600");
        }
        let Some(files) = self.collect(call, &asked) else { return Answer::error(404, "not-found", "there is no such Group") };
        let mut jobs = self.exports.jobs();
        jobs.made += 1;
        let id = jobs.made;
        // A cache that forgets to look at the clock.
        let cached = id > 1 && call.header("cache-control") != Some("no-cache");
        let empty = cached && self.fault(call, |k| *k == FaultKind::ExportEmptyAgain).is_some();
        let request = if call.query.is_empty() { call.path.clone() } else { format!("{}?{}", call.path, call.query) };
        jobs.all.push(Job { id, request, made: now, polled: 0, generation: 0, files: if empty { Vec::new() } else { files } });
        drop(jobs);
        let status = match manner.status_in_query {
            true => format!("{}/$export-poll-location?job_id={id}", self.base),
            false => format!("{}/export-status/{id}", self.base),
        };
        let status = match self.fault(call, |k| matches!(k, FaultKind::ExportStatusElsewhere { .. })) {
            Some(FaultKind::ExportStatusElsewhere { origin }) => format!("{origin}/fhir/export-status/{id}"),
            _ => status,
        };
        Answer::empty(202).with("Content-Location", status)
    }

    fn asked(&self, call: &Call, manner: &Exporting, level: ExportLevel, group: Option<String>) -> Result<Asked, Box<Answer>> {
        let bad = |text: &str| Box::new(Answer::error(400, "invalid", text));
        let pairs = if call.method == "POST" {
            parameters(&call.body).ok_or_else(|| bad("the body is no Parameters resource"))?
        } else {
            call.query_pairs()
        };
        let listed = |name: &str| -> Vec<String> { pairs.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect() };
        let types = listed("_type");
        let fault = self.fault(call, |k| matches!(k, FaultKind::ExportLists { .. }));
        let (no_repeats, no_commas) = match fault {
            Some(FaultKind::ExportLists { comma }) => (comma, !comma),
            _ => (manner.comma_only, false),
        };
        if types.len() > 1 && no_repeats || no_commas && types.iter().any(|t| t.contains(',')) {
            return Err(bad("_type cannot be understood"));
        }
        let named: Vec<&str> = types.iter().flat_map(|t| t.split(',')).filter(|t| !t.is_empty()).collect();
        if named
            .iter()
            .any(|name| self.fault(call, |k| matches!(k, FaultKind::ExportWithout { resource_type } if resource_type == name)).is_some())
        {
            return Err(bad("a type is not available"));
        }
        let mut known = Vec::new();
        for name in named.iter().copied().chain(if named.is_empty() { TYPES } else { &[] }.iter().copied()) {
            match known_type(name).filter(|name| self.manner.served(name).is_some()) {
                Some(name) if manner.withheld.contains(&name) && !named.is_empty() => return Err(bad("a type is not exported")),
                Some(name) if !manner.withheld.contains(&name) => known.push(name),
                None if !named.is_empty() => return Err(bad("a type is not known")),
                _ => {}
            }
        }
        let since = match listed("_since").first() {
            Some(text) => Some(parse_range(text).ok_or_else(|| bad("_since is no instant"))?.from),
            None => None,
        };
        let ignored = self.fault(call, |k| *k == FaultKind::ExportIgnoresSince).is_some();
        let mut filters = Vec::new();
        for text in listed("_typeFilter") {
            let (kind, query) = text.split_once('?').ok_or_else(|| bad("_typeFilter is no search"))?;
            filters.push((kind.to_owned(), query.to_owned()));
        }
        Ok(Asked { level, group, types: known, since: since.filter(|_| !ignored), filters })
    }

    /// The files of an export; `None` where there is no such Group.
    fn collect(&self, call: &Call, asked: &Asked) -> Option<Vec<File>> {
        let records = self.charts.read();
        let members: Option<BTreeSet<String>> = match &asked.group {
            Some(id) => Some(members(records.get("Group", id)?.body.as_deref()?)),
            None => None,
        };
        let concerns = |kind: &str, entry: &Entry| {
            let about = |id: &str| members.as_ref().is_none_or(|m| m.contains(id));
            match asked.level {
                ExportLevel::System => true,
                _ if kind == "Patient" => about(&entry.id),
                _ => entry.keys.references.iter().any(|(_, target)| target.strip_prefix("Patient/").is_some_and(about)),
            }
        };
        let since = asked.since.unwrap_or(i64::MIN);
        let (mut files, mut gone) = (Vec::new(), Vec::new());
        for kind in asked.types.iter().copied() {
            let filters = asked.filters.iter().filter(|(k, _)| k == kind).collect::<Vec<_>>();
            let wanted = |entry: &Entry| filters.is_empty() || filters.iter().any(|(_, query)| self.fits(kind, query, entry));
            let mut lines: Vec<Arc<str>> = records
                .all(kind)
                .filter(|entry| entry.updated > since && concerns(kind, entry) && wanted(entry))
                .filter_map(|entry| entry.body.clone())
                .collect();
            if !lines.is_empty() && self.fault(call, |k| *k == FaultKind::ExportBadLine).is_some() {
                lines.insert(1.min(lines.len()), Arc::from(format!("{{\"resourceType\":\"{kind}\",\"id\":\"half")));
            }
            files.extend(lines.chunks(LINES).map(|lines| File { role: "output", kind, lines: lines.to_vec() }));
            if asked.since.is_some() {
                gone.extend(
                    records
                        .deleted_since(kind, since)
                        .map(|id| json!({ "request": { "method": "DELETE", "url": format!("{kind}/{id}") } })),
                );
            }
        }
        if !gone.is_empty() {
            let line = json!({ "resourceType": "Bundle", "type": "transaction", "entry": gone }).to_string();
            files.push(File { role: "deleted", kind: "Bundle", lines: vec![line.into()] });
        }
        if let Some(FaultKind::ExportErrors { severity }) = self.fault(call, |k| matches!(k, FaultKind::ExportErrors { .. })) {
            files.push(File {
                role: "error",
                kind: "OperationOutcome",
                lines: vec![outcome(&severity, "processing", "not all of it").into()],
            });
        }
        Some(files)
    }

    /// Whether a resource is found by a search of its type.
    fn fits(&self, kind: &'static str, query: &str, entry: &Entry) -> bool {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        parse(&Served::whole(kind), &pairs, self.rules).is_ok_and(|search| search.filters.iter().all(|filter| filter.matches(entry)))
    }

    fn status(&self, call: &Call, id: Option<u64>, now: i64) -> Answer {
        if let Some(refusal) = self.may_export(call, &[], now) {
            return refusal;
        }
        let gone = || Answer::error(404, "not-found", "there is no such export");
        let Some(id) = id else { return gone() };
        if call.method == "DELETE" {
            return self.delete_job(call, id);
        }
        if call.method != "GET" {
            return Answer::error(405, "not-supported", "not by this method").with("Allow", "GET, DELETE");
        }
        if self.fault(call, |k| *k == FaultKind::NotJson).is_some() {
            return markup();
        }
        if let Some(FaultKind::ExportForgotten { status }) = self.fault(call, |k| matches!(k, FaultKind::ExportForgotten { .. })) {
            self.exports.jobs().all.retain(|job| job.id != id);
            return Answer::error(status, "not-found", "there is no such export");
        }
        if let Some(FaultKind::ExportRefusedAtStatus { status }) =
            self.fault(call, |k| matches!(k, FaultKind::ExportRefusedAtStatus { .. }))
        {
            return Answer::error(status, "forbidden", "exports are not open to this client");
        }
        let waits = self.fault(call, |k| matches!(k, FaultKind::ExportWaits { .. }));
        let mut jobs = self.exports.jobs();
        let Some(job) = jobs.all.iter_mut().find(|job| job.id == id) else { return gone() };
        let page = call.query_pairs().into_iter().find(|(name, _)| name == "_page").and_then(|(_, n)| n.parse::<usize>().ok());
        if let Some(FaultKind::ExportWaits { retry_after }) = waits {
            let answer = Answer::empty(202).with("X-Progress", "preparing, 50 % done");
            return retry_after.into_iter().fold(answer, |answer, value| answer.with("Retry-After", value));
        }
        job.polled += 1;
        if job.polled == 1 {
            let retry_after = self.manner.export.map_or("1", |m| m.retry_after);
            return Answer::empty(202).with("X-Progress", "in progress").with("Retry-After", retry_after);
        }
        let manifest = self.manifest(call, job, page);
        drop(jobs);
        Answer::json(200, manifest.to_string()).with("Expires", "Thu, 31 Dec 2099 23:59:59 GMT")
    }

    fn manifest(&self, call: &Call, job: &Job, page: Option<usize>) -> Value {
        let mut told = Map::new();
        let version = match self.fault(call, |k| matches!(k, FaultKind::ExportVersion { .. })) {
            Some(FaultKind::ExportVersion { version }) => version,
            _ => 2,
        };
        match self.fault(call, |k| matches!(k, FaultKind::ExportTime { .. })) {
            Some(FaultKind::ExportTime { value: Some(value) }) => drop(told.insert("transactionTime".to_owned(), value.into())),
            Some(_) => {}
            None => drop(told.insert("transactionTime".to_owned(), format_instant(job.made).into())),
        }
        let open = self.fault(call, |k| matches!(k, FaultKind::ExportOpenFiles { .. }));
        told.insert("requiresAccessToken".to_owned(), json!(open.is_none() && !self.open));
        if version < 4 {
            told.insert("request".to_owned(), job.request.clone().into());
        } else {
            told.insert("manifestType".to_owned(), "export".into());
            told.insert("extension".to_owned(), json!([]));
        }
        let counts = self.fault(call, |k| matches!(k, FaultKind::ExportCounts { .. }));
        let origin = match &open {
            Some(FaultKind::ExportOpenFiles { origin: Some(origin) }) => Some(origin.clone()),
            _ => None,
        };
        let base = origin.map_or_else(|| self.base.clone(), |origin| format!("{origin}/fhir"));
        let signed = if open.is_some() { "?sig=a%2Fb%2Bc%3D" } else { "" };
        let paged = self.fault(call, |k| *k == FaultKind::ExportPages).is_some();
        let mut listed = job.files.iter().enumerate().collect::<Vec<_>>();
        if paged {
            let at = page.unwrap_or(0);
            if at + 1 < listed.len() {
                let url = format!("{}/export-status/{}?_page={}", self.base, job.id, at + 1);
                told.insert("link".to_owned(), json!([{ "relation": "next", "url": url }]));
            }
            listed = listed.into_iter().skip(at).take(1).collect();
        }
        let errors = if version < 4 { "error" } else { "outcome" };
        told.insert("output".to_owned(), json!([]));
        told.insert(errors.to_owned(), json!([]));
        for (at, file) in listed {
            let url = format!("{base}/export-files/{}/{}/{at}{signed}", job.id, job.generation);
            let mut one = json!({ "type": file.kind, "url": url });
            let count = i64::try_from(file.lines.len()).unwrap_or(i64::MAX);
            let shown = match &counts {
                Some(FaultKind::ExportCounts { by: None }) => None,
                Some(FaultKind::ExportCounts { by: Some(by) }) if file.role == "output" => Some(count + by),
                _ => Some(count),
            };
            if let (Some(count), Some(members)) = (shown, one.as_object_mut()) {
                members.insert("count".to_owned(), json!(count));
            }
            let name = if file.role == "error" { errors } else { file.role };
            if let Some(list) = told.entry(name).or_insert_with(|| json!([])).as_array_mut() {
                list.push(one);
            }
        }
        Value::Object(told)
    }

    fn delete_job(&self, call: &Call, id: u64) -> Answer {
        if let Some(FaultKind::ExportDeleteRefused { status }) = self.fault(call, |k| matches!(k, FaultKind::ExportDeleteRefused { .. })) {
            return Answer::error(status, "not-supported", "not here");
        }
        let mut jobs = self.exports.jobs();
        let before = jobs.all.len();
        jobs.all.retain(|job| job.id != id);
        if jobs.all.len() == before {
            return Answer::error(404, "not-found", "there is no such export");
        }
        match self.fault(call, |k| *k == FaultKind::ExportDeleteText) {
            Some(_) => Answer::plain(202, "deleted"),
            None => Answer::empty(202),
        }
    }

    fn file(&self, call: &Call, id: Option<u64>, generation: Option<u64>, at: Option<u64>, now: i64) -> Answer {
        let signed = call.query.contains("sig=");
        if signed && (call.query != "sig=a%2Fb%2Bc%3D" || call.header("authorization").is_some()) {
            return Answer::error(403, "forbidden", "the address is not as it was given, or there is a token beside its signature");
        }
        if !signed {
            if self.fault(call, |k| *k == FaultKind::ExportTokenEnds).is_some() {
                self.authority.revoke_all();
            }
            if let Some(refusal) = self.may_export(call, &[], now) {
                return refusal;
            }
        }
        if self.fault(call, |k| *k == FaultKind::NotJson).is_some() {
            return markup();
        }
        let mut jobs = self.exports.jobs();
        let Some(job) = jobs.all.iter_mut().find(|job| Some(job.id) == id) else {
            return Answer::error(404, "not-found", "there is no such file");
        };
        if let Some(FaultKind::ExportFileGone { status }) = self.fault(call, |k| matches!(k, FaultKind::ExportFileGone { .. })) {
            job.generation += 1;
            return Answer::error(status, "expired", "this address has ended");
        }
        if generation != Some(job.generation.into()) {
            return Answer::error(410, "expired", "this address has ended");
        }
        let Some(file) = at.and_then(|at| job.files.get(usize::try_from(at).ok()?)).cloned() else {
            return Answer::error(404, "not-found", "there is no such file");
        };
        drop(jobs);
        if let Some(FaultKind::ExportRedirects { origin }) = self.fault(call, |k| matches!(k, FaultKind::ExportRedirects { .. })) {
            return Answer::empty(307).with("Location", format!("{origin}{}?sig=a%2Fb%2Bc%3D", call.path));
        }
        let mut text = String::with_capacity(file.lines.iter().map(|line| line.len() + 1).sum());
        for line in &file.lines {
            text.push_str(line);
            text.push('\n');
        }
        let packed = self.fault(call, |k| *k == FaultKind::ExportPacked).and_then(|_| packed(text.as_bytes()));
        let body = packed.map_or(Body::Text(text), Body::Bytes);
        Answer { status: 200, headers: vec![("Content-Type", NDJSON.to_owned())], body }
    }

    /// Checks the token, and that it may read these types.
    fn may_export(&self, call: &Call, types: &[&str], now: i64) -> Option<Answer> {
        if self.open {
            return None;
        }
        match self.authority.check(call.header("authorization"), now) {
            Err(challenge) => Some(unauthorized(challenge)),
            Ok(grant) if types.iter().any(|name| !grant.allows(name, 'r')) => {
                Some(Answer::error(403, "forbidden", "the token's scope does not allow this"))
            }
            Ok(_) => None,
        }
    }
}

/// Parameters as pairs.
fn parameters(body: &[u8]) -> Option<Vec<(String, String)>> {
    let resource: Value = serde_json::from_slice(body).ok()?;
    (resource.get("resourceType")?.as_str()? == "Parameters").then_some(())?;
    let all = resource.get("parameter").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let one = |parameter: &Value| {
        let members = parameter.as_object()?;
        let value = members.iter().find(|(name, _)| name.starts_with("value"))?.1.as_str()?;
        Some((members.get("name")?.as_str()?.to_owned(), value.to_owned()))
    };
    Some(all.iter().filter_map(one).collect())
}

fn members(group: &str) -> BTreeSet<String> {
    let group: Value = serde_json::from_str(group).unwrap_or_default();
    let members = group.get("member").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let here = members.iter().filter(|m| m.get("inactive").and_then(Value::as_bool) != Some(true));
    here.filter_map(|m| m.get("entity")?.get("reference")?.as_str()?.strip_prefix("Patient/").map(str::to_owned)).collect()
}

fn packed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}
