//! Lists: filters, orders, pages and files.

use actix_web::http::Method;
use domain::model::Role;
use fhir_engage::store::stops::{self, Scope};
use fhir_engage::web::routes::{Access, table};

use super::{World, patient};
use crate::store::fixtures::{at, planned, write};
use crate::support::{Backend, Database, on_both};

/// The first cells of a CSV's rows.
fn first_cells(csv: &str) -> Vec<String> {
    csv.lines().skip(1).map(|l| l.split(',').next().unwrap().trim_matches('"').to_owned()).collect()
}

/// The texts of the row heads of the list on a page.
fn heads(html: &str) -> Vec<String> {
    let cells = html.split("<th role=\"rowheader\" scope=\"row\">").skip(1).map(|s| s.split("</th>").next().unwrap());
    cells.map(|c| c.rsplit_once("\">").map_or(c, |(_, rest)| rest).trim_end_matches("</a>").to_owned()).collect()
}

fn next(html: &str) -> Option<String> {
    let before = html.split("\" rel=\"next\"").next().filter(|b| b.len() < html.len())?;
    Some(before.rsplit("href=\"").next().unwrap().replace("&#38;", "&").replace("&amp;", "&"))
}

/// The words of a CSV's column, row by row.
fn column(csv: &str, name: &str) -> Vec<String> {
    let cells = |line: &str| line.split(',').map(|c| c.trim_matches('"').to_owned()).collect::<Vec<_>>();
    let at = cells(csv.lines().next().unwrap()).iter().position(|c| c == name).unwrap();
    csv.lines().skip(1).map(|l| cells(l)[at].clone()).collect()
}

on_both! {
    /// By a column with few values a list of any length is ordered by what indexes there are: page after page, without loss.
    async fn attempts_are_ordered_by_state_program_channel_and_outcome(db) {
        let world = World::filled(&db);
        let who = patient(world.store(), "many", "Many", "Times", "1970-01-01");
        for n in 0..130 {
            planned(world.store(), &who, &format!("m{n:03}"));
        }
        let set = |what: &str, which: &str| db.execute(&format!("UPDATE attempt SET {what} WHERE id LIKE 'm%' AND id LIKE '{which}'"));
        set("program = 'check-up'", "%3");
        set("program = 'welcome', state = 'held'", "%4");
        set("state = 'finished', outcome = 'failed', channel = 'email'", "%5");
        set("state = 'finished', outcome = 'answered', channel = 'sms'", "%6");
        set("state = 'finished', outcome = 'delivered', channel = 'recorded', program = 'welcome'", "%7");
        set("due_at = due_at + 1000000", "m05%");
        let roles = [Role::Operator];
        let all = db.lines("SELECT id AS line FROM attempt").len();
        for (query, key, name) in [
            ("state=any", "state", "State"),
            ("state=any", "program", "Program"),
            ("state=any", "channel", "Channel"),
            ("state=any", "outcome", "Outcome"),
            ("state=any&channel=email", "program", "Program"),
            ("state=finished", "outcome", "Outcome"),
            ("state=any&program=welcome", "state", "State"),
            ("state=any&outcome=answered", "due", "Due"),
        ] {
            for down in ["", "&down=1"] {
                let query = format!("{query}&by={key}{down}");
                let (mut path, mut seen, mut pages) = (format!("/attempts?{query}"), Vec::new(), 0);
                loop {
                    let page = world.get(&roles, &path).await;
                    assert_eq!(page.status, 200, "{path}");
                    seen.extend(heads(&page.body));
                    pages += 1;
                    match next(&page.body) {
                        Some(query) => path = format!("/attempts{query}"),
                        None => break,
                    }
                }
                let file = world.get(&roles, &format!("/attempts?{query}&as=csv")).await.body;
                assert_eq!(first_cells(&file), seen, "{query}: the file says the same");
                let mut once = seen.clone();
                once.sort();
                once.dedup();
                assert_eq!(once.len(), seen.len(), "{query}: each once");
                if query.starts_with("state=any&by") {
                    assert_eq!((seen.len(), pages), (all, all.div_ceil(50)), "{query}: all of them");
                }
                let (values, dues) = (column(&file, name), column(&file, "Due"));
                let fits = |a: &String, b: &String| if down.is_empty() { a <= b } else { a >= b };
                assert!(values.windows(2).all(|w| fits(&w[0], &w[1])), "{query}: {values:?}");
                let alike = |n: usize| key != "due" && values[n] == values[n + 1];
                assert!((0..values.len() - 1).filter(|n| alike(*n)).all(|n| dues[n] >= dues[n + 1]), "{query}: the latest due first");
                assert!(values.len() > 10, "{query}: {values:?}");
            }
        }
        // Write-backs, too.
        for path in ["/writebacks?state=any&by=state", "/writebacks?state=any&by=ehr&down=1", "/writebacks?state=any&ehr=north"] {
            let file = world.get(&roles, &format!("{path}&as=csv")).await.body;
            assert_eq!(file.lines().count(), 6, "{path}: {file}");
        }
    }

    async fn what_is_held_says_why(db) {
        let world = World::filled(&db);
        let verdict = fhir_engage::store::attempts::Verdict {
            outcome: "hold",
            hold_until: Some(at(90)),
            facts_as_of: None,
            reasons: b"[{\"code\":\"quiet-hours\",\"detail\":\"\"}]",
        };
        write(world.store(), |c| fhir_engage::store::attempts::hold(c, "b3", (at(90), false), &verdict, at(1)));
        let held = world.get(&[Role::Engagement], "/attempts?state=held").await.body;
        assert!(held.contains("it is quiet hours where the patient is"), "{held}");
    }

    /// Whatever stands as a list on a page can be narrowed, ordered, and had as a file.
    async fn every_list_of_every_page_is_filtered_ordered_and_exported(db) {
        let world = World::filled(&db);
        db.execute("UPDATE attempt SET state = 'held' WHERE id = 'b3'");
        world.get(&Role::ALL, "/audit").await;
        write(world.store(), |c| stops::begin(c, (Scope::All, ""), "because", "kim", at(3)));
        let mut lists = std::collections::BTreeSet::new();
        for row in table().iter().filter(|r| r.method == Method::GET && !r.path.contains("{handle}")) {
            let (Access::Staff(_), false) = (row.access, row.path == "/connections/now") else { continue };
            let path = crate::web::boards::looks::filled(row.path);
            let page = world.get(&Role::ALL, &path).await.body;
            let parts: Vec<&str> = page.split("<table role=\"table\"").collect();
            for (n, part) in parts.iter().enumerate().skip(1) {
                let caption = part.split("<caption>").nth(1).unwrap().split("</caption>").next().unwrap();
                let (head, rest) = part.split_once("</thead>").unwrap();
                let form = parts[n - 1].rsplit("<form").next().unwrap();
                assert!(form.contains(&format!("role=\"search\" aria-label=\"Narrow: {caption}\"")), "{path}: {caption} cannot be narrowed");
                let links = |html: &str| -> Vec<String> {
                    let all = html.split("href=\"").skip(1).map(|l| l.split('"').next().unwrap());
                    all.map(|l| l.replace("&#38;", "&")).filter(|l| l.starts_with('?')).map(|l| l.split('#').next().unwrap().to_owned()).collect()
                };
                let orders = links(head);
                assert!(!orders.is_empty(), "{path}: {caption} cannot be ordered");
                for order in orders {
                    let answer = world.get(&Role::ALL, &format!("{path}{order}")).await;
                    assert_eq!(answer.status, 200, "{path}{order}");
                    assert!(answer.body.contains("aria-sort="), "{path}{order}");
                }
                let file = links(rest).into_iter().find(|l| l.contains("as=csv"));
                let file = file.unwrap_or_else(|| panic!("{path}: {caption} cannot be had as a file"));
                let answer = world.get(&Role::ALL, &format!("{path}{file}")).await;
                assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "text/csv; charset=utf-8; header=present"), "{path}{file}");
                assert!(answer.body.lines().count() > 1, "{path}{file}: {}", answer.body);
                lists.insert(format!("{path} {caption}"));
            }
        }
        assert!(lists.len() >= 25, "{} lists: {lists:#?}", lists.len());
    }

    async fn a_long_list_is_read_page_by_page_without_loss_and_as_one_file(db) {
        let world = World::filled(&db);
        let who = patient(world.store(), "many", "Many", "Times", "1970-01-01");
        for n in 0..120 {
            planned(world.store(), &who, &format!("m{n:03}"));
        }
        // Ties in the order, and a different instant here and there.
        db.execute("UPDATE attempt SET due_at = due_at + 1000000 WHERE id LIKE 'm%5'");
        let roles = [Role::Operator];
        for (query, up) in [("?state=planned", false), ("?state=planned&by=due", true)] {
            let (mut path, mut seen) = (format!("/attempts{query}"), Vec::new());
            loop {
                let page = world.get(&roles, &path).await;
                assert_eq!(page.status, 200, "{path}");
                seen.extend(heads(&page.body));
                match next(&page.body) {
                    Some(query) => path = format!("/attempts{query}"),
                    None => break,
                }
            }
            assert_eq!(seen.len(), 121, "all of them, b3 too");
            let mut sorted = seen.clone();
            sorted.sort();
            sorted.dedup();
            assert_eq!(sorted.len(), 121, "each once");
            let fives: Vec<bool> = seen.iter().map(|id| id.starts_with('m') && id.ends_with('5')).collect();
            let edge = if up { &fives[109..] } else { &fives[..12] };
            assert!(edge.iter().all(|five| *five), "in order, {query}");
            let file = world.get(&roles, &format!("/attempts{query}&as=csv")).await;
            assert_eq!(file.headers["content-type"], "text/csv; charset=utf-8; header=present");
            assert_eq!(file.headers["content-disposition"], "attachment; filename=\"attempts.csv\"");
            assert_eq!(first_cells(&file.body), seen, "the file says the same, {query}");
        }
    }

    async fn a_list_is_narrowed_by_its_columns_and_refuses_what_it_does_not_have(db) {
        let world = World::filled(&db);
        let roles = Role::ALL;
        let refused = world.get(&roles, "/attempts?state=refused&program=reminders").await;
        assert_eq!(heads(&refused.body), ["b2"]);
        assert!(refused.body.contains("no number or address can be used"), "{}", refused.body);
        assert_eq!(heads(&world.get(&roles, "/attempts?state=refused&channel=email").await.body), Vec::<String>::new());
        assert_eq!(heads(&world.get(&roles, "/writebacks?state=refused").await.body), ["a1-0"]);
        assert_eq!(world.get(&roles, "/runs?ehr=north&type=Patient&state=done").await.status, 200);
        assert_eq!(heads(&world.get(&roles, "/segments?id=laps").await.body), ["lapsed"]);
        let by_size = heads(&world.get(&roles, "/segments?by=in&down=1").await.body);
        assert_eq!(by_size[0], "lapsed", "the only one with a member");
        for bad in [
            "/attempts?state=none",
            "/attempts?program=none",
            "/attempts?by=step",
            "/attempts?by=id",
            "/attempts?order=due",
            "/attempts?outcome=lost",
            "/attempts?after=x",
            "/attempts?after=9223372036854775808~a",
            "/attempts?after=1",
            "/attempts?x=1",
            "/attempts?state=held&state=held",
            "/attempts?as=pdf",
            "/runs?ehr=south",
            "/segments?id=%00",
            "/quarantine?code=%27%20OR%201=1",
            "/segments/lapsed/members?after=z",
            "/segments?after=-1",
        ] {
            let answer = world.get(&roles, bad).await;
            assert_eq!(answer.status, 400, "{bad}: {}", answer.body);
            assert!(answer.body.contains("Go to it anew"), "{bad}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_holds_no_formula_and_lists_beside_each_other_have_their_own() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let world = World::filled(&db);
    let file = world.get(&Role::ALL, "/quarantine?as=csv").await.body;
    assert!(file.contains("\"'=HYPERLINK(\"\"http://x\"\")\""), "{file}");
    let causes = world.get(&Role::ALL, "/writeback?list=causes&as=csv").await;
    assert!(causes.body.starts_with("\"EHR\",\"State\",\"Cause\",\"How many\"") && causes.body.contains("http-422"), "{}", causes.body);
    let refusals = world.get(&Role::ALL, "/outreach?list=refusals&as=csv").await;
    assert!(refusals.body.starts_with("\"Reasons\",\"In words\",\"Attempts\"\r\n\"no-contact-point\""), "{}", refusals.body);
    let switches = world.get(&Role::ALL, "/outreach?list=switches&as=csv").await;
    assert!(switches.body.contains("\"Everything\",\"goes on\""), "{}", switches.body);
}

/// The lists that must hold at a million patients are walked along an index, and nothing is sorted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lists_are_read_along_an_index() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    for (sql, index) in [
        ("SELECT id FROM attempt a WHERE 1 = 1 AND a.state = 'held' ORDER BY a.due_at DESC, a.id DESC LIMIT 51", "attempt_due"),
        (
            "SELECT id FROM attempt a WHERE 1 = 1 AND a.state = 'held' AND a.program = 'x' AND (a.due_at, a.id) < (5, 'z') ORDER BY a.due_at DESC, a.id DESC LIMIT 51",
            "attempt_by_program",
        ),
        (
            "SELECT o, t FROM (SELECT a.due_at AS o, a.id AS t FROM attempt a WHERE 1 = 1 AND a.state = 'finished' AND a.program = 'x' AND a.channel = 'email' AND a.outcome = 'failed' ORDER BY a.due_at DESC, a.id DESC LIMIT 51) p0",
            "COVERING INDEX attempt_by_program",
        ),
        (
            "SELECT o, t FROM (SELECT w.owed_at AS o, w.id AS t FROM writeback w WHERE 1 = 1 AND w.state = 'written' AND w.ehr = 'north' ORDER BY w.owed_at DESC, w.id DESC LIMIT 51) p0",
            "COVERING INDEX writeback_by_state",
        ),
        (
            "SELECT a.number FROM audit a WHERE 1 = 1 AND a.ehr = 'north' AND a.patient = 'p1' ORDER BY a.number DESC, a.what DESC LIMIT 51",
            "audit_by_patient",
        ),
        (
            "SELECT id, due_at, failure FROM attempt WHERE state = 'held' AND (due_at, id) > (5, 'z') ORDER BY due_at, id LIMIT 500",
            "attempt_due (state=? AND (due_at,id)>(?,?))",
        ),
        ("SELECT program, channel, state, outcome, COUNT(*) FROM attempt GROUP BY program, state, channel, outcome", "attempt_by_program"),
        (
            "SELECT id FROM writeback w WHERE 1 = 1 AND w.state = 'written' ORDER BY w.owed_at DESC, w.id DESC LIMIT 51",
            "writeback_by_state",
        ),
        (
            "SELECT ehr, code, COUNT(*) AS n FROM quarantine WHERE released_at IS NULL GROUP BY ehr, code ORDER BY ehr, code",
            "quarantine_open",
        ),
        ("SELECT attempt FROM answer w WHERE w.needs_action AND w.settled_at IS NULL ORDER BY w.received_at LIMIT 9", "answer_waiting"),
        (
            "SELECT id FROM attempt a WHERE a.called_at IS NULL AND a.failure LIKE 'channel: %' AND a.expires_at > 5 AND (a.state || '') IN ('refused', 'finished')",
            "attempt_to_call",
        ),
        ("SELECT a.number FROM audit a WHERE 1 = 1 AND a.what = 'x' ORDER BY a.number DESC, a.what DESC LIMIT 51", "audit_by_what"),
        (
            "SELECT record FROM patient_label l WHERE l.family >= 'a' AND l.family < 'b' ORDER BY l.family, l.given, l.record LIMIT 30",
            "patient_label_name",
        ),
    ] {
        let plan = db.plan(sql).join("; ");
        assert!(plan.contains(index), "{sql}\n{plan}");
        let sorts = plan.contains("USE TEMP B-TREE FOR ORDER BY") && !sql.contains("GROUP BY");
        assert!(!sorts, "{sql}\n{plan}");
    }
}
