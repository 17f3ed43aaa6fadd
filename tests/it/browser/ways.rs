//! How people come and go: a double click, "back" after a form, two tabs with two patients, a session that has run out, no script.

use domain::model::Role::{self, CareManager};
use serde_json::json;

use super::{address, framing, sign_in};
use crate::patient::world::World;
use crate::support::{Backend, Browser, Database};

async fn ready(arguments: &[&str], roles: &[Role]) -> Option<(Browser, World, crate::patient::world::Open)> {
    let browser = Browser::start_with(arguments, json!({}))?;
    let world = World::new(Database::fresh(Backend::Sqlite).unwrap()).await;
    let open = world.open(roles, "ann").await;
    browser.go(&world.address());
    sign_in(&browser, &world, &open);
    browser.go(&address(&world, &open));
    Some((browser, world, open))
}

/// Unfolds the part of the page that a summary names.
fn unfold(browser: &Browser, summary: &str) {
    browser.run(
        "for (const s of document.querySelectorAll('summary')) if (s.textContent.startsWith(arguments[0])) s.parentElement.open = true",
        &[json!(summary)],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_double_click_and_the_way_back_record_a_call_once() {
    let Some((browser, world, _)) = ready(&[], &[CareManager]).await else { return };
    unfold(&browser, "Record a call");
    browser.keys(&browser.find("textarea[name=note]"), "Rang at ten.");
    // Two submits before the first answer comes, as a double click makes them.
    let twice = "const f = document.querySelector('form[action$=\"/contact\"]'); const body = new URLSearchParams(new FormData(f));
        const done = arguments[arguments.length - 1];
        return Promise.all([0, 1].map(() => fetch(f.action, { method: 'POST', body, redirect: 'follow' }).then(r => r.url.split('did=')[1])))";
    let mut answers: Vec<String> = browser.run(twice, &[]).as_array().unwrap().iter().map(|a| a.as_str().unwrap().to_owned()).collect();
    answers.sort();
    assert_eq!(answers, ["before", "recorded"]);
    // A person's click on the same form, and once more by going back to it.
    browser.click(&browser.find("form[action$='/contact'] button"));
    browser.until("the page", "return document.body.innerText.includes('done already')");
    browser.back();
    browser.until("the form", "return document.querySelector('form[action$=\"/contact\"]') !== null");
    unfold(&browser, "Record a call");
    browser.click(&browser.find("form[action$='/contact'] button"));
    browser.until("the page", "return document.body.innerText.includes('Recorded') || document.body.innerText.includes('done already')");
    let made = world.lines("SELECT id AS line FROM attempt WHERE program = 'by-hand'");
    // The page that "back" shows may be a new one with a key of its own: then the second is a second call by the person's own will.
    let fresh = browser.text().contains("Recorded.");
    assert_eq!(made.len(), if fresh { 2 } else { 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_after_a_form_sends_nothing_again() {
    let Some((browser, world, _)) = ready(&[], &[CareManager]).await else { return };
    unfold(&browser, "Record a call");
    browser.click(&browser.find("form[action$='/contact'] button"));
    browser.until("the page", "return document.body.innerText.includes('Recorded.')");
    let here = browser.url();
    browser.run("location.reload()", &[]);
    browser.go(&here);
    assert_eq!(world.lines("SELECT id AS line FROM attempt WHERE program = 'by-hand'").len(), 1);
    assert_eq!(browser.title(), "Patient - fhir-engage", "a title tells nothing of the patient");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_two_tabs_acts_on_its_own_patient() {
    let Some((browser, world, ann)) = ready(&[], &[CareManager]).await else { return };
    let (_, first) = browser.tabs();
    let bob = world.open_for(ann.staff.clone(), &[CareManager], "bob").await;
    browser.tab();
    browser.go(&address(&world, &bob));
    // The first tab is older than the second opening, and still Ann's.
    browser.look_at(&first);
    unfold(&browser, "Record a call");
    browser.keys(&browser.find("textarea[name=note]"), "About Ann.");
    browser.click(&browser.find("form[action$='/contact'] button"));
    browser.until("the page", "return document.body.innerText.includes('Recorded.')");
    let whose = world.lines("SELECT p.fhir_id AS line FROM attempt a JOIN patient p ON p.pk = a.patient WHERE a.program = 'by-hand'");
    assert_eq!(whose, ["ann"]);
    let told = world.lines("SELECT patient AS line FROM audit WHERE what = 'record-contact'");
    assert_eq!(told, ["ann"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_run_out_does_nothing_and_says_so() {
    let Some((browser, world, open)) = ready(&[], &[CareManager]).await else { return };
    unfold(&browser, "Record a call");
    world.clock.advance(chrono::TimeDelta::days(2));
    browser.click(&browser.find("form[action$='/contact'] button"));
    browser.until("an answer", "return !document.body.innerText.includes('Record a call')");
    let told = browser.text();
    assert!(!told.contains("Quill") && told.contains("Nothing was done") && told.contains("Sign in"), "{told}");
    assert!(world.lines("SELECT id AS line FROM attempt WHERE program = 'by-hand'").is_empty());
    browser.go(&address(&world, &open));
    assert!(browser.url().contains("/signin"), "{}", browser.url());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_works_without_script() {
    let Some((browser, world, _)) = ready(&["--blink-settings=scriptEnabled=false"], &[CareManager]).await else { return };
    browser.click(&browser.find("section[aria-labelledby=do] details:last-of-type summary"));
    browser.click(&browser.find("form[action$='/contact'] button"));
    let began = std::time::Instant::now();
    while world.lines("SELECT id AS line FROM attempt WHERE program = 'by-hand'").is_empty() {
        assert!(began.elapsed() < std::time::Duration::from_secs(10));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_part_that_moves_tells_when_the_patient_was_read() {
    let Some((browser, world, _)) = ready(&[], &[CareManager]).await else { return };
    assert!(browser.text().contains("Being read again from the EHR now"), "{}", browser.text());
    world.app.refresh_patients().await.unwrap();
    browser.until("the news", "return document.body.innerText.includes('Read again from the EHR')");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_elses_page_can_lay_ours_into_a_frame() {
    let Some((browser, world, open)) = ready(&[], &[CareManager]).await else { return };
    browser.go(&framing(&address(&world, &open)));
    browser.go_into(&browser.find("iframe"));
    let shown = browser.text();
    assert!(!shown.contains("Quill") && !shown.contains("Record a call"), "{shown}");
}
