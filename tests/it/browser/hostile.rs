//! What an EHR, a patient or a note may hold is words, and nothing else, wherever a page shows it.

use domain::model::{Phi, Role};
use fhir_engage::outreach::inbound::{Answer, Taken};
use serde_json::json;

use super::{address, sign_in};
use crate::patient::world::World;
use crate::support::{Backend, Browser, Database};

/// Markup that would run, or show, if it were taken for markup.
const WORDS: &str = "\"'><img src=x onerror=\"window.hit=1\"><script>window.hit=2</script><svg onload=window.hit=3>{{7*7}}</textarea><style>*{color:red}</style>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markup_in_names_notes_reasons_and_replies_is_shown_as_words() {
    let Some(browser) = Browser::start() else { return };
    let world = World::saying(Database::fresh(Backend::Sqlite).unwrap(), WORDS).await;
    let open = world.open(&Role::ALL, "ann").await;
    let sent = world
        .lines("SELECT a.id AS line FROM attempt a JOIN patient p ON p.pk = a.patient WHERE p.fhir_id = 'ann' AND a.outcome = 'delivered'");
    let reply = Answer {
        attempt: sent[0].clone(),
        channel: "email".to_owned(),
        external_id: None,
        text: Phi::new(format!("I cannot, {WORDS}")),
        barrier: None,
        recorded_by: format!("x{WORDS}"),
    };
    assert!(matches!(world.app.answered(reply).await.unwrap(), Taken::Recorded { .. }));
    world.post(&open, "/contact", &[("key", "c"), ("went", "met"), ("note", WORDS)]).await;
    world.db.execute(&format!("UPDATE attempt SET failure = '{0}' WHERE state = 'planned'", WORDS.replace('\'', "''")));
    browser.go(&world.address());
    sign_in(&browser, &world, &open);
    let page = address(&world, &open);
    for url in [
        page.clone(),
        format!("{page}?did={}", "%3Cscript%3Ewindow.hit=4%3C/script%3E"),
        format!("{page}/message?template=visit-confirm&channel=recorded"),
    ] {
        browser.go(&url);
        browser.run("document.querySelectorAll('details').forEach(d => { d.open = true; })", &[]);
        assert_eq!(browser.run("return window.hit === undefined", &[]), json!(true), "{url}");
        assert_eq!(
            browser.run("return document.querySelectorAll('main img, main script, main svg, main style').length", &[]),
            json!(0),
            "{url}"
        );
        let foreign: Vec<String> = browser.requests().into_iter().filter(|u| !u.starts_with(&world.address())).collect();
        assert!(foreign.iter().all(|u| u.starts_with("data:") || u.starts_with("chrome")), "{foreign:?}");
    }
    browser.go(&page);
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true; })", &[]);
    let text = browser.text();
    // It is shown, so nothing was silently cut out on the way.
    assert!(text.matches("<img src=x").count() >= 6, "{text}");
    assert!(!text.contains("49"), "a template engine read the words");
}
