//! Attacks on the ways in. Each ends with nobody signed in, and most without a request to anybody.

use chrono::TimeDelta;
use sandbox::{Fault, FaultKind, LaunchContext, User};
use url::Url;

use super::setup::{Browser, CLIENT, EHR, Kind, World, patient};
use crate::support::{Backend, Database, on_both};
use crate::web::fixture::Answer;

fn with(url: &Url, name: &str, value: Option<&str>) -> Url {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().filter(|(n, _)| n != name).collect();
    let mut changed = url.clone();
    changed.query_pairs_mut().clear().extend_pairs(pairs).extend_pairs(value.map(|v| (name, v)));
    changed
}

const NOT_OURS: &str = "belongs to no sign-in that was begun in this browser";

async fn world() -> World {
    World::begin(Database::fresh(Backend::Sqlite).unwrap(), Kind::Public).await
}

fn nobody(world: &World) {
    assert_eq!((world.count("session"), world.count("opening")), (0, 0));
}

on_both! {
    async fn a_state_is_of_one_browser_and_works_once(db) {
        let world = World::begin(db, Kind::Public).await;
        let (mut victim, mut attacker) = (world.browser(), world.browser());
        let context = || LaunchContext::of(&patient(&world, 0));
        let back = world.sent_back(&mut attacker, context()).await;
        let tokens = world.asked("POST", "/auth/token");
        // Login CSRF: the attacker's answer in the victim's browser, with and without a cookie of its own.
        victim.get(&back).await.refuses(400, NOT_OURS);
        world.sent_back(&mut victim, context()).await;
        victim.get(&back).await.refuses(400, NOT_OURS);
        // Forged, missing, twice.
        for state in [Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), Some(""), None] {
            attacker.get(&with(&back, "state", state)).await.refuses(400, NOT_OURS);
        }
        let mut twice = back.clone();
        twice.query_pairs_mut().append_pair("state", "x");
        attacker.get(&twice).await.refuses(400, NOT_OURS);
        assert_eq!(world.asked("POST", "/auth/token"), tokens, "no code was exchanged for any of these");
        nobody(&world);
        // None of that ended the attacker's own sign-in; once it is used it is gone.
        attacker.get(&back).await.lands_at();
        attacker.get(&back).await.refuses(400, NOT_OURS);
        assert_eq!(world.count("session"), 1);
    }

    async fn a_sign_in_that_takes_too_long_is_over(db) {
        let world = World::begin(db, Kind::Public).await;
        let mut browser = world.browser();
        let back = world.sent_back(&mut browser, LaunchContext::of(&patient(&world, 0))).await;
        world.clock.advance(TimeDelta::minutes(10));
        browser.get(&back).await.refuses(400, NOT_OURS);
        nobody(&world);
    }

    async fn a_second_launch_keeps_the_first_page_its_own_patient(db) {
        let world = World::begin(db, Kind::Public).await;
        let (one, two, mut browser) = (patient(&world, 0), patient(&world, 1), world.browser());
        let first = world.launched(&mut browser, LaunchContext::of(&one)).await.lands_at();
        let (cookie, csrf) = (browser.cookies["engage"].clone(), world.lines("SELECT csrf AS line FROM session").remove(0));
        let second = world.launched(&mut browser, LaunchContext::of(&two)).await.lands_at();
        assert_ne!((&first, &cookie), (&second, &browser.cookies["engage"]), "the session is another one after each sign-in");
        assert_eq!(world.count("session"), 1);
        assert_eq!(world.lines("SELECT csrf AS line FROM session"), [csrf], "a form of the first tab still goes");
        assert_eq!(world.opening(&first).unwrap().patient, one, "the first tab is about the first patient");
        assert_eq!(world.opening(&second).unwrap().patient, two);
        // Another user at the same screen: what was open is closed.
        world.ehr.sit_down(User { subject: "user-2".to_owned(), name: "Other".to_owned(), fhir_user: "Practitioner/prac-02".to_owned() });
        let third = world.launched(&mut browser, LaunchContext::of(&two)).await.lands_at();
        assert!(world.opening(&first).is_none() && world.opening(&second).is_none() && world.opening(&third).is_some());
        let mut old = world.browser();
        old.cookies.insert("engage".to_owned(), cookie);
        assert_eq!(old.page("/").await.lands_at(), "/signin?back=%2F", "the cookie of before is worth nothing");
        // Somebody else's handle is not there, whoever asks.
        let mut other = world.browser();
        world.launched(&mut other, LaunchContext::of(&one)).await.lands_at();
        assert_eq!(other.page(&third).await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ehr_that_nobody_registered_is_not_even_asked() {
    let world = world().await;
    let stranger = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let strange = format!("http://{}/fhir", stranger.local_addr().unwrap());
    let base = world.ehr.base_url();
    let mut browser = world.browser();
    let near = [
        format!("{base}x"),
        format!("{base}/x"),
        base.replace("http:", "https:"),
        base.replace("/fhir", ""),
        format!("{base}//"),
        format!("{base}?x=1"),
    ];
    for iss in near.iter().chain([&strange, &"file:///etc/passwd".to_owned(), &"x".to_owned()]) {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("iss", iss).append_pair("launch", "l").finish();
        let answer = browser.page(&format!("/launch?{query}")).await;
        answer.refuses(400, "not registered");
        assert!(
            answer.headers["content-security-policy"].contains("frame-ancestors 'none'") && answer.headers["x-frame-options"] == "DENY",
            "{iss}"
        );
        assert!(!answer.body.contains(iss.as_str()) || iss == "x", "what was sent is not repeated");
    }
    for query in ["", "?iss=", "?launch=x", "?iss=a&iss=b&launch=x"] {
        browser.page(&format!("/launch{query}")).await.refuses(400, "iss and launch");
    }
    browser.page("/launch/south").await.refuses(400, "not registered");
    let asked = tokio::time::timeout(std::time::Duration::from_millis(50), stranger.accept()).await;
    assert!(asked.is_err() && world.ehr.request_log().is_empty(), "somebody was asked");
    assert_eq!(world.count("sign_in"), 0);
    // Its own address with a slash more is the same EHR, and is sent back as the EHR wrote it.
    let start = format!("/launch?iss={base}/&launch=l");
    let to = browser.page(&start).await.goes_to(&format!("http://{}/", world.address).parse().unwrap());
    let pairs: std::collections::BTreeMap<String, String> = to.query_pairs().into_owned().collect();
    assert_eq!((pairs["aud"].as_str(), pairs["launch"].as_str()), (format!("{base}/").as_str(), "l"));
    assert_eq!((pairs["code_challenge_method"].as_str(), pairs["client_id"].as_str()), ("S256", CLIENT));
    assert!(pairs["state"].len() >= 22 && pairs["nonce"].len() >= 22 && pairs["scope"].contains("launch"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_of_elsewhere_brings_nothing() {
    let world = world().await;
    let (mut victim, mut attacker) = (world.browser(), world.browser());
    let context = || LaunchContext::of(&patient(&world, 0));
    let code = |url: &Url| url.query_pairs().find(|(n, _)| n == "code").unwrap().1.into_owned();
    // A stolen code in the attacker's own sign-in: PKCE binds it to the one that it was made for.
    let stolen = world.sent_back(&mut victim, context()).await;
    let own = world.sent_back(&mut attacker, context()).await;
    attacker.get(&with(&own, "code", Some(&code(&stolen)))).await.refuses(502, "invalid_grant");
    nobody(&world);
    // The victim's is untouched; played again afterwards it brings nothing and ends what came of it.
    victim.get(&stolen).await.lands_at();
    assert_eq!(world.ehr.tokens_of_users(), 1);
    let again = world.sent_back(&mut attacker, context()).await;
    attacker.get(&with(&again, "code", Some(&code(&stolen)))).await.refuses(502, "invalid_grant");
    assert_eq!((world.ehr.tokens_of_users(), world.count("session")), (0, 1), "the EHR ended the tokens of a code that came twice");
    // No code, and one that is made up.
    for made_up in [None, Some("made-up")] {
        let back = world.sent_back(&mut attacker, context()).await;
        let answer = attacker.get(&with(&back, "code", made_up)).await;
        assert!(answer.status >= 400 && !answer.body.contains("made-up"), "{}", answer.body);
    }
    assert_eq!(world.count("session"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_another_server_is_not_taken() {
    let world = world().await;
    let mut browser = world.browser();
    let back = world.sent_back(&mut browser, LaunchContext::of(&patient(&world, 0))).await;
    let tokens = world.asked("POST", "/auth/token");
    browser.get(&with(&back, "iss", Some("https://evil.example.org"))).await.refuses(400, "another server");
    assert_eq!(world.asked("POST", "/auth/token"), tokens, "its code went nowhere");
    nobody(&world);
    let back = world.sent_back(&mut browser, LaunchContext::of(&patient(&world, 0))).await;
    let issuer = world.ehr.base_url().replace("/fhir", "/auth");
    browser.get(&with(&back, "iss", Some(&issuer))).await.lands_at();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_the_ehr_is_shown_without_its_words() {
    let world = world().await;
    let mut browser = world.browser();
    world.ehr.plant(Fault::new(FaultKind::AccessDenied).on("GET", "/auth/authorize"));
    let back = world.sent_back(&mut browser, LaunchContext::of(&patient(&world, 0))).await;
    let answer = browser.get(&back).await;
    answer.refuses(403, "access_denied");
    assert!(!answer.body.contains("the person said no"));
    let back = world.sent_back(&mut browser, LaunchContext::of(&patient(&world, 0))).await;
    let evil = with(&with(&back, "code", None), "error", Some("<script>alert(1)</script>"));
    let answer = browser.get(&evil).await;
    answer.refuses(403, "an error");
    assert!(!answer.body.contains("<script>alert") && !answer.body.contains("alert(1)"));
}

fn framed(answer: &Answer) -> (String, bool) {
    let policy = &answer.headers["content-security-policy"];
    let ancestors = policy.split("; ").find(|d| d.starts_with("frame-ancestors")).unwrap().to_owned();
    (ancestors, answer.headers.contains_key("x-frame-options"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_ehr_shows_a_launched_page_in_a_frame() {
    let world = world().await;
    let mut browser = world.browser();
    let path = world.launched(&mut browser, LaunchContext::of(&patient(&world, 0))).await.lands_at();
    let origin = world.ehr.base_url().replace("/fhir", "");
    assert_eq!(framed(&browser.page(&path).await), (format!("frame-ancestors {origin}"), false));
    for page in ["/", "/signin", "/nothing"] {
        assert_eq!(framed(&browser.page(page).await), ("frame-ancestors 'none'".to_owned(), true), "{page}");
    }
    // As the operator says, where the EHR's pages are elsewhere.
    let mut launch = world.launch().await;
    launch.framed_by = vec!["https://hyper.example.org".parse().unwrap(), "https://second.example.org:8443".parse().unwrap()];
    world.launches_by(launch).await;
    let (ancestors, denied) = framed(&browser.page(&path).await);
    assert_eq!((ancestors.as_str(), denied), ("frame-ancestors https://hyper.example.org https://second.example.org:8443", false));
    // A session that is over is told inside the frame, by a page that does nothing.
    let mut nobody = world.browser();
    let over = nobody.in_frame(&path).await;
    over.refuses(401, "Start the app again");
    assert!(framed(&over).0.ends_with("https://second.example.org:8443") && !over.body.contains("<form"));
    // Somebody else's handle is no reason to be framed.
    assert_eq!(framed(&world.browser().page(&path).await).0, "frame-ancestors 'none'");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_leads_elsewhere() {
    let world = world().await;
    let mut browser = world.browser();
    for back in ["https://evil.example.org", "//evil.example.org", "/\\evil.example.org", "/%09/evil.example.org", "javascript:alert(1)"] {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("back", back).finish();
        let page = browser.page(&format!("/signin?{query}")).await;
        assert_eq!(page.status, 200);
        assert!(!page.body.contains("evil.example.org") && !page.body.contains("javascript:"), "{}", page.body);
    }
    // A host that a request makes up is no address of ours.
    let made_up = Browser::of_host(&world, "evil.example.org", &format!("/launch/{EHR}")).await;
    made_up.refuses(500, "web.external_url");
    assert_eq!(world.count("sign_in"), 0);
}
