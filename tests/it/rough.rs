//! Servers as they are: the habits of real FHIR servers that a gateway's client has to survive, all at once, and the whole way through.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Installation, on_both};

/// Which habits a server has.
#[derive(Clone, Copy, Default)]
struct Habits {
    /// `next` is relative and holds an opaque cursor; else it is absolute and holds an offset.
    cursor: bool,
    /// `_lastUpdated` and other parameters are unknown, and answered with 400; else they are ignored in silence.
    strict: bool,
    /// A create answers 201 without `Location`, `ETag` and body; else 200 with all of them on a conditional hit.
    bare: bool,
    /// Every search carries a warning as an entry, and whatever it was asked, a stranger's resource.
    chatty: bool,
    /// Each path first answers this, once: status, headers and text.
    stumble: Option<(u16, &'static str, &'static str)>,
}

struct Rough {
    port: u16,
    charts: Arc<Mutex<BTreeMap<&'static str, Vec<Value>>>>,
}

const PAGE: usize = 3;

impl Rough {
    fn start(habits: Habits, patients: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let people: Vec<Value> = (0..patients).map(|n| person(n, port)).collect();
        let plans: Vec<Value> = (0..patients).map(plan).collect();
        let charts = Arc::new(Mutex::new(BTreeMap::from([("Patient", people), ("CarePlan", plans)])));
        let shared = Arc::clone(&charts);
        std::thread::spawn(move || {
            let mut stumbled = Vec::new();
            for stream in listener.incoming().flatten() {
                let Some(request) = Request::read(&stream) else { continue };
                let first = !stumbled.contains(&request.path);
                stumbled.push(request.path.clone());
                let answer = match habits.stumble.filter(|_| first) {
                    Some((status, headers, text)) => {
                        format!("HTTP/1.1 {status} No\r\n{headers}content-type: text/plain; charset=utf-8\r\n")
                            + &format!("content-length: {}\r\nconnection: close\r\n\r\n{text}", text.len())
                    }
                    None => answer(&request, habits, port, &mut shared.lock().unwrap()),
                };
                // A client that hangs up in between is its own affair.
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        Self { port, charts }
    }

    fn communications(&self) -> Vec<Value> {
        self.charts.lock().unwrap().get("Communication").cloned().unwrap_or_default()
    }
}

/// With what real payloads have and the standard does not allow.
fn person(n: usize, port: u16) -> Value {
    json!({
        "resourceType": "Patient", "id": format!("p{n}"), "meta": { "versionId": format!("5f0c-{n}") }, "active": true, "birthDate": "1970-01-31",
        "telecom": [{ "system": "email", "value": format!("p{n}-{port}@example.org"), "rank": "1" }], "extension": [{ "valueString": "no url" }],
        "name": [{ "given": ["Ida", null], "family": "Rough" }], "contact": [], "fhir_comments": ["x"], "maritalStatus": null,
    })
}

fn plan(n: usize) -> Value {
    json!({
        "resourceType": "CarePlan", "id": format!("c{n}"), "status": "active", "intent": "plan",
        "subject": { "reference": format!("Patient/p{n}") }, "period": { "start": "2025-01-01" }, "activity": [],
    })
}

struct Request {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    if_none_exist: Option<String>,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split(' ');
        let method = words.next()?.to_owned();
        let url = url::Url::parse(&format!("http://here{}", words.next()?)).ok()?;
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let mut body = vec![0; headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        let query = url.query_pairs().into_owned().collect();
        Some(Self { method, path: url.path().to_owned(), query, if_none_exist: headers.remove("if-none-exist"), body })
    }

    fn asked(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

fn json_answer(status: u16, headers: &str, body: &Value) -> String {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let length = text.len();
    format!(
        "HTTP/1.1 {status} X\r\n{headers}content-type: application/json; charset=UTF-8\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
    )
}

fn answer(request: &Request, habits: Habits, port: u16, charts: &mut BTreeMap<&'static str, Vec<Value>>) -> String {
    let base = format!("http://127.0.0.1:{port}/fhir");
    let kind = match request.path.as_str() {
        "/fhir/metadata" => {
            let params: &[Value] = &[json!({ "name": "_id", "type": "token" }), json!({ "name": "identifier", "type": "token" })];
            let resource =
                |t: &str| json!({ "type": t, "interaction": [{ "code": "search-type" }, { "code": "create" }], "searchParam": params });
            let all = ["Patient", "Appointment", "CarePlan", "Communication"].map(resource);
            let statement = json!({ "resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "status": "active", "kind": "instance",
                "date": "2026", "format": ["json"], "rest": [{ "mode": "server", "resource": all }] });
            return json_answer(200, "", &statement);
        }
        "/fhir/Patient" => "Patient",
        "/fhir/Appointment" => "Appointment",
        "/fhir/CarePlan" => "CarePlan",
        "/fhir/Communication" => "Communication",
        _ => return json_answer(404, "", &Value::Null),
    };
    if request.method == "POST" {
        return create(request, habits, &base, charts.entry("Communication").or_default());
    }
    let known = ["_count", "_id", "identifier", "offset", "cursor", "_format", "_summary", "_total"];
    if habits.strict && request.query.iter().any(|(name, _)| !known.contains(&name.as_str())) {
        let issue = json!({ "resourceType": "OperationOutcome", "issue": [{ "severity": "error", "code": "not-supported" }] });
        return json_answer(400, "", &issue);
    }
    searchset(request, habits, &base, charts.get(kind).map_or(&[], Vec::as_slice))
}

/// Filters are ignored, as some servers do, except by a strict one.
fn searchset(request: &Request, habits: Habits, base: &str, all: &[Value]) -> String {
    let wanted = |r: &&Value| match request.asked("identifier") {
        Some(token) if habits.strict => token.split_once('|').is_some_and(|(_, value)| r["identifier"][0]["value"] == value),
        _ => true,
    };
    let all: Vec<&Value> = all.iter().filter(wanted).collect();
    let from = request
        .asked(if habits.cursor { "cursor" } else { "offset" })
        .and_then(|t| t.trim_start_matches("b3BhcXVl").parse().ok())
        .unwrap_or(0);
    let mut entries: Vec<Value> = all.iter().skip(from).take(PAGE).map(|r| json!({ "resource": r })).collect();
    if habits.chatty {
        let issue = json!({ "resourceType": "OperationOutcome", "issue": [{ "severity": "warning", "code": "informational" }] });
        entries.push(json!({ "resource": issue, "search": { "mode": "outcome" } }));
        entries.push(json!({ "resource": { "resourceType": "Organization", "id": "o1" }, "search": { "mode": "include" } }));
    }
    let mut bundle = json!({ "resourceType": "Bundle", "type": "searchset" });
    if !entries.is_empty() {
        bundle["entry"] = entries.into();
    }
    if from + PAGE < all.len() {
        let kind = request.path.trim_start_matches("/fhir/");
        let next =
            if habits.cursor { format!("{kind}?cursor=b3BhcXVl{}", from + PAGE) } else { format!("{base}/{kind}?offset={}", from + PAGE) };
        bundle["link"] = json!([{ "relation": "next", "url": next }]);
    }
    json_answer(200, "", &bundle)
}

fn create(request: &Request, habits: Habits, base: &str, stored: &mut Vec<Value>) -> String {
    let mut resource: Value = serde_json::from_slice(&request.body).unwrap();
    let value = &resource["identifier"][0]["value"];
    let hit = stored.iter().find(|r| r["identifier"][0]["value"] == *value).cloned();
    if let Some(found) = hit.filter(|_| request.if_none_exist.is_some()) {
        return json_answer(200, "", if habits.bare { &Value::Null } else { &found });
    }
    let id = format!("m{}", stored.len());
    resource["id"] = json!(id);
    stored.push(resource.clone());
    if habits.bare {
        return json_answer(201, "", &Value::Null);
    }
    json_answer(201, &format!("location: {base}/Communication/{id}\r\n"), &resource)
}

/// No quiet hours: the test runs at any hour.
const CONFIG: &str = "[outreach]\nchannels = [\"recorded\"]\n[outreach.quiet_hours]\nstart = \"00:00\"\nend = \"00:00\"\n";

on_both! {
    fn habits_of_real_servers_cost_nothing(db) {
        let rough = Habits::default();
        let cases = [
            ("offset", rough),
            ("cursor", Habits { cursor: true, chatty: true, ..rough }),
            ("strict", Habits { strict: true, bare: true, ..rough }),
            ("busy", Habits { stumble: Some((429, "retry-after: 1\r\n", "slow down")), strict: true, ..rough }),
            ("fails-once", Habits { stumble: Some((503, "", "upstream")), cursor: true, ..rough }),
        ];
        let gateway = Installation::new(&db, CONFIG);
        for (name, habits) in cases {
            let server = Rough::start(habits, 7);
            gateway.run(&["ehr", "add", name, "--url", &format!("http://127.0.0.1:{}/fhir", server.port)]).ok();
            let report = gateway.json(&["sync", "run", "--ehr", name]);
            let stored: Vec<i64> = report["runs"].as_array().unwrap().iter().map(|r| r["run"]["stored"].as_i64().unwrap()).collect();
            assert_eq!(stored, [7, 0, 7], "{name}: {report}");
            let report = gateway.run(&["work", "--once", "--json"]).json();
            assert_eq!(report["outreach"]["sent"], 7, "{name}: {report}");
            // A create that told no id is looked for once it has settled, and a busy server is asked again later: both without the wait.
            let mut rows = Value::Null;
            for _ in 0..8 {
                db.execute("UPDATE writeback SET next_at = 0 WHERE state IN ('unknown', 'owed')");
                gateway.run(&["writeback", "run", "--ehr", name]);
                rows = gateway.json(&["writeback", "list", "--ehr", name]);
                if rows.as_array().unwrap().iter().all(|r| r["state"] == "written") {
                    break;
                }
            }
            let open: Vec<&Value> = rows.as_array().unwrap().iter().filter(|r| r["state"] != "written").collect();
            assert!(open.is_empty(), "{name}: {open:?}");
            assert_eq!(server.communications().len(), 7, "{name}");
            // And a second round changes nothing.
            gateway.run(&["work", "--once"]);
            assert_eq!(server.communications().len(), 7, "{name}");
            gateway.run(&["ehr", "remove", name]).ok();
        }
    }
}
