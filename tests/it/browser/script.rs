//! What pages gain by script: the part that moves, which asks again and puts the answer in place, and the buttons that copy.

use domain::model::Role;
use sandbox::{Fault, FaultKind};
use serde_json::json;

use super::sign_in;
use crate::patient::world::World;
use crate::support::{Backend, Browser, Database};

async fn at(path: &str) -> Option<(Browser, World, crate::patient::world::Open)> {
    let browser = Browser::start()?;
    let world = World::new(Database::fresh(Backend::Sqlite).unwrap()).await;
    let open = world.open(&Role::ALL, "ann").await;
    browser.go(&world.address());
    sign_in(&browser, &world, &open);
    browser.go(&format!("{}{path}", world.address()));
    Some((browser, world, open))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_in_progress_moves_without_a_reload_and_a_page_that_is_over_says_so() {
    let Some((browser, world, open)) = at("/connections").await else { return };
    assert!(browser.text().contains("Nothing is being read now"), "{}", browser.text());
    browser.run("window.same = true", &[]);
    // A sync begins, and its EHR takes its time.
    world.ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 8_000 }).on("GET", "/fhir/Patient"));
    let app = std::sync::Arc::clone(&world.app);
    let run = tokio::spawn(async move { app.cycle(&std::sync::Arc::default(), std::sync::Arc::new(|_| ())).await });
    browser.until("the run", "return document.querySelector('[data-live]').innerText.includes('north Patient')");
    assert!(run.await.unwrap().failures.is_empty());
    browser.until("its end", "return document.body.innerText.includes('Nothing is being read now')");
    assert_eq!(browser.run("return window.same === true", &[]), json!(true), "the page was loaded anew");
    assert_eq!(browser.run("return document.querySelectorAll('[data-live] script, [data-live] html').length", &[]), json!(0));
    // Signed out elsewhere: the part says that it stands still, and asks no more.
    world.app.sessions().end(&open.staff.session).await.unwrap();
    browser.until("the word", "return document.body.innerText.includes('This part no longer moves: reload the page.')");
    let _ = browser.requests();
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert!(!browser.requests().iter().any(|url| url.ends_with("/connections/now")), "it asks on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_button_copies_what_stands_beside_it_and_is_not_there_where_it_cannot() {
    let Some((browser, world, _)) = at("/segments/visit-unconfirmed").await else { return };
    browser.cdp(
        "Browser.grantPermissions",
        json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": world.address() }),
    );
    let button = browser.find("button[data-copy=rule]");
    browser.click(&button);
    browser.until("the word", "return document.querySelector('button[data-copy=rule]').textContent === 'Copied'");
    let rule = browser.run("return document.getElementById('rule').textContent.trim()", &[]);
    assert!(rule.as_str().is_some_and(|r| r.len() > 10), "{rule}");
    assert_eq!(browser.run("return navigator.clipboard.readText()", &[]), rule);
    browser.until("its own name again", "return document.querySelector('button[data-copy=rule]').textContent === 'Copy'");
    // Where the browser lets nobody copy, there is no button that does nothing.
    browser.cdp(
        "Page.addScriptToEvaluateOnNewDocument",
        json!({ "source": "Object.defineProperty(navigator, 'clipboard', { value: undefined })" }),
    );
    browser.go(&format!("{}/segments/visit-unconfirmed", world.address()));
    assert_eq!(browser.run("return document.querySelector('button[data-copy=rule]').hidden", &[]), json!(true));
}
