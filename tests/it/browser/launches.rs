//! A launch in a real browser: alone, and in a frame of the EHR's page on another site with third-party cookies blocked, where only cookies that
//! are partitioned live.

use sandbox::LaunchContext;
use serde_json::json;
use url::Url;

use super::framing;
use crate::smart::setup::{CLIENT, KINDS, Kind, World, patient};
use crate::support::{Backend, Browser, Database};

const BLOCKED: [&str; 1] = ["--test-third-party-cookie-phaseout"];

fn blocking() -> Option<Browser> {
    Browser::start_with(&BLOCKED, json!({ "profile.cookie_controls_mode": 1, "profile.block_third_party_cookies": true }))
}

/// Lets pages of this address show ours.
async fn framed_by(world: &World, address: &str) {
    let mut launch = world.launch().await;
    launch.framed_by = vec![Url::parse(address).unwrap()];
    world.launches_by(launch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_launches_end_at_the_patient_in_every_kind_of_client() {
    let Some(browser) = Browser::start() else { return };
    for kind in KINDS {
        let world = World::begin(Database::fresh(Backend::Sqlite).unwrap(), kind).await;
        let id = patient(&world, 0);
        browser.go(&world.ehr.open_app(CLIENT, LaunchContext::of(&id)).unwrap());
        browser.until("the page", "return location.pathname.startsWith('/l/') && document.querySelector('h1') !== null");
        assert!(!browser.url().contains(&id) && !browser.title().contains(&id), "{}", browser.url());
        // The one that begins here: the person chooses the patient at the EHR.
        browser.go(&format!("http://{}/launch/{}", world.address, crate::smart::setup::EHR));
        browser.until("the EHR's choice", "return document.querySelector('a[href*=\"chosen=\"]') !== null");
        browser.click(&browser.find("a[href*='chosen=']"));
        browser.until("the page", "return location.pathname.startsWith('/l/') && document.querySelector('h1') !== null");
        let seen = world.lines("SELECT roles || ' ' || what || ' ' || why AS line FROM audit WHERE what = 'view-patient'");
        assert_eq!(seen, ["clinician view-patient launch"; 2], "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_in_a_frame_of_another_site_works_with_third_party_cookies_blocked() {
    let Some(browser) = blocking() else { return };
    let world = World::begin(Database::fresh(Backend::Sqlite).unwrap(), Kind::Public).await;
    let shell = framing(&world.ehr.open_app(CLIENT, LaunchContext::of(&patient(&world, 0))).unwrap());
    framed_by(&world, &shell).await;
    browser.go(&shell);
    browser.go_into(&browser.find("iframe"));
    browser.until("the page", "return location.pathname.startsWith('/l/') && document.body.innerText.includes('What comes next') || document.body.innerText.includes('not here yet')");
    // The session holds in the frame: the page's own link to itself is answered, too.
    browser.run("location.reload()", &[]);
    browser.until("the page again", "return document.readyState === 'complete' && location.pathname.startsWith('/l/')");
    browser.picture("launch-in-a-frame");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_the_ehr_did_not_register_shows_nothing_of_a_launch() {
    let Some(browser) = blocking() else { return };
    let world = World::begin(Database::fresh(Backend::Sqlite).unwrap(), Kind::Public).await;
    let shell = framing(&world.ehr.open_app(CLIENT, LaunchContext::of(&patient(&world, 0))).unwrap());
    browser.go(&shell);
    browser.go_into(&browser.find("iframe"));
    assert!(!browser.text().contains("What comes next") && !browser.text().contains("Born"), "{}", browser.text());
}
