//! A declared table applied to what hospitals write: value for value, and every mistake where it is.

use std::sync::Arc;

use serde_json::{Value, json};

use super::rows::Rows;
use super::{Drop, Mistakes};

const APPOINTMENTS: &str = r#"
name = "appointments"
folder = "/srv/drops"
files = "appt_*.csv"
content = "full"
covers = { days_back = 7, days_ahead = 90 }
complete = { by = "trailer", first = "TRAILER", count = 2 }
expected = { by = "06:30", zone = "America/New_York", days = ["mon", "fri"] }

[csv]
resource = "Appointment"
id = ["Site", "Appt ID"]
id_prefix = "a-"
time_zone = "America/New_York"
delimiter = ";"
encoding = "windows-1252"
dates = ["%m/%d/%Y"]
date_times = ["%m/%d/%Y %I:%M %p"]
nothing = ["NULL"]

[[csv.field]]
to = "status"
column = "Status"
codes = { "Sched" = "booked", "Canc" = "cancelled", "No Show" = "noshow" }
required = true

[[csv.field]]
to = "start"
join = ["Date", "Time"]
required = true

[[csv.field]]
to = "patient"
column = ["Patient No", "MRN"]
required = true

[[csv.field]]
to = "participant[0].status"
value = "accepted"

[[csv.field]]
to = "participant[2].actor.reference"
column = "Provider"
prefix = "Practitioner/"

[[csv.field]]
to = "participant[2].status"
value = "accepted"
when = "Provider"

[[csv.field]]
to = "serviceType[0].coding[0].code"
column = "Service"
codes = { "Cardio" = "394579002" }
otherwise = "unknown"

[[csv.field]]
to = "minutesDuration"
column = "Minutes"

[[csv.field]]
to = "comment"
column = "Note"
"#;

/// What the page says can be declared.
#[test]
fn the_page_tells_the_truth() {
    let page = include_str!("README.md");
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let drop = Drop::from_toml(example).unwrap();
    assert_eq!((drop.name.as_str(), drop.csv.unwrap().fields.len()), ("appointments", 6));
    for other in example.lines().filter_map(|line| line.strip_prefix("# complete")) {
        let changed = example.replacen("complete = { by = \"stable\", seconds = 60 }", &format!("complete{other}"), 1);
        assert_ne!(Drop::from_toml(&changed).unwrap().complete, drop.complete);
    }
}

fn drop() -> Drop {
    Drop::from_toml(APPOINTMENTS).unwrap()
}

/// Lines with their resources, or what is wrong with them.
fn read(bytes: &[u8]) -> Vec<(u64, Result<Value, String>)> {
    let drop = drop();
    let mut rows = Rows::new(bytes, &drop.table().unwrap(), drop.count_field());
    rows.heading().unwrap();
    let mut all = Vec::new();
    while let Some(row) = rows.next() {
        let made = row.made.map(|text| serde_json::from_str(&text).unwrap());
        all.push((row.line, made.map_err(|(flaws, _)| flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))));
    }
    all
}

const HEADING: &str = "Site;appt  id;STATUS;Date;Time;MRN;Provider;Service;Minutes;Note";

#[test]
fn a_row_is_the_resource_that_was_declared() {
    let text = format!(
        "\u{feff}{HEADING}\r\n\
         N;17;Sched;11/25/2026;9:30 AM;p1;dr-7;cardio;30;\"Bring \"\"all\"\" papers;\r\nfasting\"\r\n\
         N;18;CANC;7/4/2026;12:05 PM;p2;NULL;X-Ray;;\r\n\
         ;;;;;;;;;\r\n\
         TRAILER;2\r\n"
    );
    assert_eq!(
        read(text.as_bytes()),
        [
            (
                2,
                Ok(json!({
                    "resourceType": "Appointment", "id": "a-N-17", "status": "booked", "start": "2026-11-25T14:30:00Z", "minutesDuration": 30,
                    "participant": [{ "actor": { "reference": "Patient/p1" }, "status": "accepted" },
                                    { "actor": { "reference": "Practitioner/dr-7" }, "status": "accepted" }],
                    "serviceType": [{ "coding": [{ "code": "394579002" }] }], "comment": "Bring \"all\" papers;\r\nfasting"
                }))
            ),
            (
                4,
                Ok(json!({
                    "resourceType": "Appointment", "id": "a-N-18", "status": "cancelled", "start": "2026-07-04T16:05:00Z",
                    "participant": [{ "actor": { "reference": "Patient/p2" }, "status": "accepted" }],
                    "serviceType": [{ "coding": [{ "code": "unknown" }] }]
                }))
            ),
        ]
    );
}

/// A time that is shown twice is its first occurrence; one that is skipped is the first instant after the gap.
#[test]
fn local_times_at_the_change_of_clocks() {
    let start = |date: &str, time: &str| {
        let text = format!("{HEADING}\nN;1;Sched;{date};{time};p;;;;\n");
        read(text.as_bytes()).remove(0).1.unwrap()["start"].clone()
    };
    assert_eq!(start("11/01/2026", "1:30 AM"), "2026-11-01T05:30:00Z", "still summer time");
    assert_eq!(start("11/01/2026", "2:30 AM"), "2026-11-01T07:30:00Z");
    assert_eq!(start("03/08/2026", "2:30 AM"), "2026-03-08T07:00:00Z", "3 o'clock, which is the first time there is");
    assert_eq!(start("03/08/2026", "1:59 AM"), "2026-03-08T06:59:00Z");
}

#[test]
fn windows_characters_are_read() {
    let mut bytes = format!("{HEADING}\nN;1;Sched;11/25/2026;9:30 AM;p;;;;").into_bytes();
    bytes.extend(b"Caf\xe9 \x96 \x80 5\n");
    assert_eq!(read(&bytes)[0].1.as_ref().unwrap()["comment"], "Caf\u{e9} \u{2013} \u{20ac} 5");
}

#[test]
fn every_mistake_of_a_row_is_told_without_its_values() {
    for (row, says) in [
        (
            "N;17 b;What;25/11/2026;9:30 AM;;dr 7;;x;",
            "column Site, Appt ID: the id is empty, or has other characters than A-Z a-z 0-9 - . _ ~, or more than 255; \
             column Status: a text that `codes` does not have; column Date, Time: no date with time of the declared forms; \
             column Patient No: it is empty, and the element is required; \
             column Provider: no reference such as Practitioner/12; `prefix` gives what stands before an id; column Minutes: no whole number",
        ),
        ("N;17;Sched;11/25/2026;;p;;;;", "column Date, Time: it is empty, and the element is required"),
        ("N;17;Sched", "the row has 3 fields and the heading 10"),
        ("N;17;Sched;11/25/2026;9:30 AM;p;;;;;;x", "the row has 12 fields and the heading 10"),
        ("N;17;\"Sched;11/25/2026;9:30 AM;p;;;;", "a quote is opened and not closed: the file is cut off here, or the quote stands alone"),
    ] {
        let good = "N;18;Sched;11/25/2026;9:30 AM;p;;;;";
        let all = read(format!("{HEADING}\n{row}\n{good}\n").as_bytes());
        assert_eq!(all.len(), 2, "{row}");
        assert_eq!((all[0].0, all[0].1.as_ref().unwrap_err().as_str()), (2, says), "{row}");
        assert!(all[1].1.is_ok(), "the next row is read on: {row}");
    }
}

#[test]
fn a_file_that_ends_within_a_row_is_cut_off() {
    let drop = drop();
    for (tail, cut) in
        [("N;18;Sch", true), ("N;18;Sched;11/25/2026;9:30 AM;p;;;;\"Br", true), ("N;18;Sched;11/25/2026;9:30 AM;p;;;;Note", false)]
    {
        let text = format!("{HEADING}\n{tail}");
        let mut rows = Rows::new(text.as_bytes(), &drop.table().unwrap(), 2);
        assert_eq!(rows.next().unwrap().cut_off, cut, "{tail}");
    }
}

#[test]
fn a_heading_that_does_not_fit_is_told_whole() {
    let heading = |text: &[u8]| {
        let Err(Mistakes(all)) = Rows::new(text, &drop().table().unwrap(), 2).heading() else { panic!("it should not fit") };
        all
    };
    assert_eq!(
        heading(b"Site;Status;Date;Time;Provider;Service;Minutes;Note;Note\n"),
        [
            "the heading has no column `Appt ID`",
            "the heading has no column `Patient No` or `MRN`",
            "the heading has the column `Note` twice"
        ]
    );
    assert_eq!(heading(b""), ["the file is empty: it has no heading"]);
    assert!(heading(b"\xff\xfeS\0i\0")[0].contains("UTF-16"));
}

#[test]
fn a_declaration_is_kept_as_it_was_and_its_mistakes_are_told_at_once() {
    let whole = drop();
    assert_eq!(Drop::from_json(&serde_json::to_value(&whole).unwrap()).unwrap(), whole);
    let told = |change: &dyn Fn(&str) -> String| Drop::from_toml(&change(APPOINTMENTS)).unwrap_err().to_string();
    let says = told(&|text| {
        text.replace("to = \"comment\"", "to = \"coment\"")
            .replace("column = \"Minutes\"", "column = \"Minutes\"\nvalue = \"1\"")
            .replace("[\"%m/%d/%Y\"]", "[\"%m/%Q\"]")
            .replace("/srv/drops", "drops")
            .replace("delimiter = \";\"", "delimiter = \"\u{2022}\"")
    });
    for part in [
        "folder: write the whole path",
        "csv.delimiter: one ASCII character",
        "csv.dates: `%m/%Q` is no form of dates",
        "csv.field 8 (minutesDuration): give one of `column`, `join` and `value`",
        "csv.field 9 (coment): `coment` is no element that a column of a Appointment can become; did you mean `comment`?",
    ] {
        assert!(says.contains(part), "{part}\n{says}");
    }
    // With the lines of the file.
    let line = |of: &str| APPOINTMENTS.lines().position(|l| l.starts_with(of)).unwrap() + 1;
    for (of, part) in [("folder", "folder: write"), ("delimiter", "csv.delimiter: one"), ("dates", "csv.dates: `%m/%Q`")] {
        assert!(says.contains(&format!("line {}: {part}", line(of))), "{of}\n{says}");
    }
    let eighth = APPOINTMENTS.match_indices("[[csv.field]]").nth(7).unwrap().0;
    let eighth = APPOINTMENTS[..eighth].matches('\n').count() + 1;
    assert!(says.contains(&format!("line {eighth}: csv.field 8 (minutesDuration)")), "{says}");
    // A key that does not exist, with its place.
    let says = told(&|text| text.replace("content = \"full\"", "content = \"full\"\nfiels = 1"));
    assert!(says.contains("line 6") && says.contains("fiels"), "{says}");
    let says = told(&|text| text.replace("America/New_York\"\ndelimiter", "New York\"\ndelimiter"));
    assert!(says.contains("IANA"), "{says}");
    assert!(told(&|text| text.replace("to = \"comment\"", "to = \"participant[0].status\"")).contains("is given twice"));
    assert!(told(&|text| text.replace("full", "delta")).contains("covers: it is for full files"));
}

#[test]
fn two_full_files_of_one_type_must_keep_apart() {
    let profile = |prefix: &str| {
        let mut second = drop();
        second.name = "others".to_owned();
        second.csv.as_mut().unwrap().id_prefix = prefix.to_owned();
        let drops = [drop(), second].map(|d| serde_json::to_value(d).unwrap()).into();
        crate::ehr::Profile { files_only: true, drops, ..crate::ehr::Profile::default() }
    };
    assert_eq!(Drop::all(&profile("b-")).unwrap().len(), 2);
    for prefix in ["a-", "a-b", ""] {
        assert!(Drop::all(&profile(prefix)).unwrap_err().to_string().contains("id_prefix of its own"), "{prefix}");
    }
}

#[test]
fn patients_and_care_plans_too() {
    let declare = |resource: &str, fields: &str| {
        let text = format!(
            "name = \"x\"\nfolder = \"/x\"\nfiles = \"*\"\ncontent = \"delta\"\ncomplete = {{ by = \"stable\", seconds = 5 }}\n\
             [csv]\nresource = \"{resource}\"\nid = \"ID\"\ntime_zone = \"UTC\"\ndates = [\"%d.%m.%Y\"]\n{fields}"
        );
        Drop::from_toml(&text).unwrap()
    };
    let one = |drop: &Drop, text: &str| {
        let mut rows = Rows::new(text.as_bytes(), &Arc::clone(&drop.table().unwrap()), 0);
        serde_json::from_str::<Value>(&rows.next().unwrap().made.unwrap()).unwrap()
    };
    let field = |to: &str, rest: &str| format!("[[csv.field]]\nto = \"{to}\"\n{rest}\n");
    let fields = [
        field("name[0].family", "column = \"Last\""),
        field("name[0].given[0]", "column = \"First\""),
        field("birthDate", "column = \"DOB\""),
        field("active", "column = \"Active\""),
        field("deceasedDateTime", "column = \"Died\""),
        field("telecom[0].system", "value = \"sms\"\nwhen = \"Cell\""),
        field("telecom[0].value", "column = \"Cell\"\nprefix = \"+1\""),
        field("telecom[1].system", "value = \"email\"\nwhen = \"Mail\""),
        field("telecom[1].value", "column = \"Mail\""),
    ];
    let patients = declare("Patient", &fields.concat());
    assert_eq!(
        one(&patients, "ID,Last,First,DOB,Active,Died,Cell,Mail\np1,Ng,Ana,04.04.1982,Y,2026-01-02 03:04:05,,a@example.org\n"),
        json!({ "resourceType": "Patient", "id": "p1", "name": [{ "family": "Ng", "given": ["Ana"] }], "birthDate": "1982-04-04", "active": true,
                "deceasedDateTime": "2026-01-02T03:04:05Z", "telecom": [{ "system": "email", "value": "a@example.org" }] })
    );
    let fields = [
        field("status", "column = \"State\""),
        field("intent", "value = \"plan\""),
        field("patient", "column = \"MRN\""),
        field("period.start", "column = \"From\""),
        field("activity[0].detail.scheduledPeriod.end", "column = \"Due\""),
    ];
    let plans = declare("CarePlan", &fields.concat());
    assert_eq!(
        one(&plans, "ID,State,MRN,From,Due\nc1,active,p1,01.11.2026,30.11.2026\n"),
        json!({ "resourceType": "CarePlan", "id": "c1", "status": "active", "intent": "plan", "subject": { "reference": "Patient/p1" },
                "period": { "start": "2026-11-01" }, "activity": [{ "detail": { "scheduledPeriod": { "end": "2026-11-30" } } }] })
    );
}
