//! From a program's file to a [`Program`], with all mistakes at once.

use toml::Table;

use super::offset::{EXPIRY_FORMS, OFFSET_FORMS};
use super::{Action, Anchor, Expiry, MessageClass, Offset, Program, Step, StopWhen};
use crate::outreach::channel::ChannelKind;
use crate::outreach::definition::{Mistakes, Reader, dotted};

/// Steps of one program: more than that is a mistake in a file rather than a journey.
const MAX_STEPS: usize = 50;

pub(super) fn program(file: &str, text: &str) -> Result<Program, Mistakes> {
    let mut reader = Reader::new(file);
    let mut table = reader.open(text);
    if !reader.is_clean() {
        return reader.finish(None);
    }
    let class = reader.parsed(&mut table, "", "message_class", "\"care\", \"operations\" or \"marketing\"", MessageClass::parse);
    let program = Program {
        id: reader.id(&mut table, "", "id"),
        version: blake3::hash(text.as_bytes()).to_hex().chars().take(16).collect(),
        title: reader.text(&mut table, "", "title"),
        goal: reader.text(&mut table, "", "goal"),
        segment: reader.id(&mut table, "", "segment"),
        owner: reader.text(&mut table, "", "owner"),
        priority: reader.number(&mut table, "", "priority", 0..=1000),
        class: class.unwrap_or(MessageClass::Marketing),
        steps: steps(&mut reader, &mut table),
    };
    reader.nothing_else(&table, "");
    reader.finish(Some(program))
}

fn steps(reader: &mut Reader, table: &mut Table) -> Vec<Step> {
    let tables = reader.tables(table, "step");
    if tables.len() > MAX_STEPS {
        reader.wrong("step", &format!("has {} entries: a program has at most {MAX_STEPS} steps", tables.len()));
    }
    let mut steps: Vec<Step> = Vec::new();
    for (at, mut table) in tables.into_iter().enumerate() {
        let path = format!("step[{}]", at + 1);
        let read = step(reader, &mut table, &path);
        reader.nothing_else(&table, &path);
        if let Some(read) = read {
            if steps.iter().any(|s| s.id == read.id) {
                reader.wrong(&dotted(&path, "id"), &format!("{:?} is used by an earlier step: give each step its own", read.id));
            }
            steps.push(read);
        }
    }
    steps
}

fn step(reader: &mut Reader, table: &mut Table, path: &str) -> Option<Step> {
    let actions = Action::ALL.map(|a| format!("\"{}\"", a.as_str())).join(", ");
    let id = reader.id(table, path, "id");
    let anchor = reader.parsed(table, path, "anchor", "\"segment-entry\" or \"appointment-start\"", Anchor::parse);
    let offset = reader.parsed(table, path, "offset", OFFSET_FORMS, Offset::parse);
    let expires = reader.parsed(table, path, "expires", EXPIRY_FORMS, Expiry::parse);
    let channels = reader.list(table, path, "channels", "\"recorded\", \"email\"", None, ChannelKind::parse);
    let template = reader.id(table, path, "template");
    let stops = Some(vec![StopWhen::LeavesSegment]);
    let stop_when = reader.list(table, path, "stop_when", "\"leaves-segment\", \"answers\"", stops, StopWhen::parse);
    let action = reader.parsed(table, path, "action", &format!("one of {actions}"), Action::parse);
    if let (Some(Offset::Elapsed(due)), Some(Expiry::FromAnchor(Offset::Elapsed(end)))) = (offset, expires)
        && end <= due
    {
        reader.wrong(&dotted(path, "expires"), "lies before the step comes due, so it could never be sent: write a later limit");
    }
    Some(Step { id, anchor: anchor?, offset: offset?, expires: expires?, channels, template, stop_when, action: action? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
id = "visit-confirm"
title = "Confirm your visit"
goal = "next_appointment.confirmed"
segment = "visit-unconfirmed"
owner = "front-desk"
priority = 10
message_class = "care"

[[step]]
id = "ask"
anchor = "appointment-start"
offset = "-72h"
expires = "anchor-2h"
channels = ["recorded", "email"]
template = "visit-confirm"
action = "confirm"
"#;

    #[test]
    fn a_good_file_is_read() {
        let program = Program::parse("a.toml", GOOD).unwrap();
        assert_eq!(program.id, "visit-confirm");
        assert_eq!(program.class, MessageClass::Care);
        let step = program.step("ask").unwrap();
        assert_eq!(step.channels, [ChannelKind::Recorded, ChannelKind::Email]);
        assert_eq!(step.stop_when, [StopWhen::LeavesSegment], "the default");
        assert_eq!(program.version.len(), 16);
        let other = Program::parse("a.toml", &GOOD.replace("-72h", "-48h")).unwrap();
        assert_ne!(program.version, other.version, "another text is another version");
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_their_keys() {
        let bad = GOOD
            .replace("id = \"visit-confirm\"", "id = \"Visit Confirm\"")
            .replace("title = \"Confirm your visit\"\n", "")
            .replace("priority = 10", "priority = \"high\"\nprioritty = 1")
            .replace("\"-72h\"", "\"72 hours\"")
            .replace("\"email\"", "\"pigeon\"")
            .replace("\"confirm\"\n", "[\"confirm\", \"call\"]\n");
        let mistakes = Program::parse("programs/a.toml", &bad).unwrap_err();
        let keys: Vec<&str> = mistakes.0.iter().map(|m| m.key.as_str()).collect();
        for key in ["id", "title", "priority", "prioritty", "step[1].offset", "step[1].channels", "step[1].action"] {
            assert!(keys.contains(&key), "{key} is not in {keys:?}");
        }
        assert_eq!(keys.len(), 7, "{mistakes}");
        assert!(mistakes.to_string().lines().all(|l| l.starts_with("programs/a.toml: ")), "{mistakes}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (from, to, key) in [
            ("\"anchor-2h\"", "\"anchor-80h\"", "step[1].expires"),
            ("[\"recorded\", \"email\"]", "[]", "step[1].channels"),
            ("[\"recorded\", \"email\"]", "[\"email\", \"email\"]", "step[1].channels"),
            ("title = \"Confirm your visit\"", "title = \"\"", "title"),
            ("[[step]]", "[[steps]]", "step"),
            ("id = \"visit-confirm\"", "id = \"visit-confirm", "line 2"),
        ] {
            let mistakes = Program::parse("a.toml", &GOOD.replacen(from, to, 1)).unwrap_err();
            assert!(mistakes.0.iter().any(|m| m.key == key), "{to}: {mistakes}");
        }
        let twice = format!("{GOOD}{}", GOOD.split_once("[[step]]").map(|(_, s)| format!("[[step]]{s}")).unwrap());
        assert_eq!(Program::parse("a.toml", &twice).unwrap_err().0[0].key, "step[2].id");
    }
}
