//! The whole way against a FHIR server of others: Medplum's router over its repository in memory (npm). It answers as that vendor's server
//! does: ids and versions are UUIDs, instants have milliseconds, unknown parameters are refused; and its lists end at the size that was asked
//! for, with no link to what follows and no total.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Installation, keep_for_validation, on_both, prerequisite};

const CONFIG: &str = r#"
[outreach]
channels = ["recorded"]
per_day = 24
per_week = 100
[outreach.quiet_hours]
start = "00:00"
end = "00:00"
"#;

struct Medplum {
    child: Child,
    port: u16,
}

impl Drop for Medplum {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Medplum {
    /// `None` where it is not installed here, which has been reported then.
    fn start() -> Option<Self> {
        let tools = PathBuf::from(prerequisite("MEDPLUM_TOOLS")?);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Modules are looked for beside the program; put there whole, since another test may be reading it.
        let (program, whole) = (tools.join("server.mjs"), tools.join(format!("server-{port}.mjs.new")));
        std::fs::write(&whole, include_str!("../medplum/server.mjs")).unwrap();
        std::fs::rename(whole, &program).unwrap();
        let mut child = Command::new(tools.join("node"))
            .arg(program)
            .env("PORT", port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "listening"), "it did not start");
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, port })
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}/fhir/R4", self.port)
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: here\r\nContent-Type: application/fhir+json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 20"), "{method} {path}: {text}");
        serde_json::from_str(body).unwrap()
    }

    /// Creates a resource; returns it as the server has it.
    fn create(&self, resource: &Value) -> Value {
        self.request("POST", &format!("/fhir/R4/{}", resource["resourceType"].as_str().unwrap()), &resource.to_string())
    }

    fn update(&self, resource: &Value) {
        let path = format!("/fhir/R4/{}/{}", resource["resourceType"].as_str().unwrap(), id(resource));
        self.request("PUT", &path, &resource.to_string());
    }

    fn search(&self, kind: &str, query: &str) -> Vec<Value> {
        let found = self.request("GET", &format!("/fhir/R4/{kind}?{query}"), "");
        found["entry"].as_array().into_iter().flatten().map(|e| e["resource"].clone()).collect()
    }

    fn patient(&self, given: &str) -> Value {
        self.create(&json!({
            "resourceType": "Patient", "active": true, "birthDate": "1980-05-01", "gender": "female",
            "name": [{ "use": "official", "family": "Probe", "given": [given] }],
            "telecom": [{ "system": "email", "value": format!("{}@example.org", given.to_ascii_lowercase()) }],
            "communication": [{ "language": { "coding": [{ "system": "urn:ietf:bcp:47", "code": "en" }] }, "preferred": true }],
        }))
    }

    /// A visit in two days that nobody confirmed.
    #[expect(clippy::disallowed_methods, reason = "the real server goes by the real clock")]
    fn visit(&self, patient: &Value) -> Value {
        let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
        let at = |hours| (now + chrono::TimeDelta::hours(hours)).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        self.create(&json!({
            "resourceType": "Appointment", "status": "booked", "start": at(48), "end": at(49),
            "participant": [{ "actor": { "reference": format!("Patient/{}", id(patient)) }, "status": "needs-action" }],
        }))
    }
}

fn id(resource: &Value) -> &str {
    resource["id"].as_str().unwrap()
}

on_both! {
    fn the_main_job(db) {
        let Some(ehr) = Medplum::start() else { return };
        let gateway = Installation::new(&db, CONFIG);
        let [ada, bea] = ["Ada", "Bea"].map(|name| ehr.patient(name));
        let mut of_ada = ehr.visit(&ada);
        ehr.visit(&bea);
        ehr.create(&json!({
            "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": { "reference": format!("Patient/{}", id(&bea)) },
            "period": { "start": "2026-01-01" },
        }));
        gateway.run(&["ehr", "add", "main", "--url", &ehr.base()]).ok();
        let check = gateway.json(&["ehr", "check", "main", "--deep", "--test-patient", id(&bea)]);
        assert_eq!(check["ok"], true, "{check}");
        let of_the_check = ehr.search("Communication", "_count=50").len();

        gateway.cycle();
        let mut both: Vec<String> = [&ada, &bea].iter().map(|p| format!("main/{}", id(p))).collect();
        both.sort();
        assert_eq!(gateway.members("visit-unconfirmed"), both);
        let written = gateway.json(&["writeback", "list", "--limit", "100"]);
        let written = written.as_array().unwrap();
        assert!(written.len() >= 2 && written.iter().all(|row| row["state"] == "written"), "{written:?}");
        for row in written {
            let found = ehr.search("Communication", &format!("identifier=urn:fhir-engage:attempt%7C{}", row["attempt"].as_str().unwrap()));
            assert_eq!(found.len(), 1, "{row}");
            assert_eq!(row["remote"].as_str().unwrap(), format!("Communication/{}", id(&found[0])));
        }
        let all = ehr.search("Communication", "_count=50");
        assert_eq!(all.len(), written.len() + of_the_check);
        keep_for_validation(&format!("medplum-{:?}", db.backend()), &all);

        // She confirms; and a second round writes nothing twice.
        of_ada["participant"][0]["status"] = json!("accepted");
        ehr.update(&of_ada);
        gateway.cycle();
        assert_eq!(gateway.members("visit-unconfirmed"), [format!("main/{}", id(&bea))]);
        assert_eq!(ehr.search("Communication", "_count=50").len(), all.len());
    }

    fn a_list_that_ends_without_a_link_to_the_rest_is_read_to_its_end(db) {
        let Some(ehr) = Medplum::start() else { return };
        let gateway = Installation::new(&db, CONFIG);
        for n in 0..450 {
            ehr.create(&json!({ "resourceType": "Patient", "active": true, "birthDate": format!("19{:02}-05-01", n % 90 + 10) }));
        }
        gateway.run(&["ehr", "add", "main", "--url", &ehr.base()]).ok();
        let run = gateway.json(&["sync", "run", "--ehr", "main"]);
        assert_eq!(run["runs"][0]["run"]["stored"], 450, "{run}");
    }
}
