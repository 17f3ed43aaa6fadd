//! Attacks on the ways in and on the pages behind them. Each ends with nobody signed in, and most without a request to anybody.
//!
//! | attack | test |
//! |---|---|
//! | forged, replayed and foreign state | `a_state_is_of_one_browser_and_works_once`, `a_sign_in_that_takes_too_long_is_over` |
//! | login CSRF | `a_state_is_of_one_browser_and_works_once` |
//! | code injection and replay | `a_code_of_elsewhere_brings_nothing` |
//! | forged id_token: unsigned, by a shared secret, another's key, issuer, audience or nonce, out of time | `what_is_wrong_lets_nobody_in_and_says_why` |
//! | unregistered issuer, and requests to where an attacker says | `an_ehr_that_nobody_registered_is_not_even_asked` |
//! | mix-up of two servers | `an_answer_of_another_server_is_not_taken`, `an_answer_is_taken_from_whoever_was_asked_and_from_nobody_else` |
//! | answer of the provider as one of a launch, and the other way round | `whoever_no_rule_names_is_not_let_in` |
//! | open redirect, made-up host | `no_address_leads_elsewhere` |
//! | header and path injection | `what_stands_in_an_address_leads_nowhere_else` |
//! | session fixation | `a_planted_cookie_is_nobodys_session`, `a_second_launch_keeps_the_first_page_its_own_patient` |
//! | forged form (CSRF) | `a_form_from_elsewhere_does_nothing`, `a_form_without_the_sessions_token_does_nothing`, `signing_out_ends_the_session_and_needs_our_own_form` |
//! | form sent twice, stale form | `a_double_click_and_the_way_back_record_a_call_once`, `what_is_stopped_is_not_sent_and_not_planned_again` |
//! | clickjacking | `only_the_ehr_shows_a_launched_page_in_a_frame`, `nobody_elses_page_can_lay_ours_into_a_frame`, `a_page_that_the_ehr_did_not_register_shows_nothing_of_a_launch` |
//! | XSS by names, notes, reasons and replies | `markup_in_names_notes_reasons_and_replies_is_shown_as_words`, `nothing_that_an_ehr_sends_runs_in_a_page` |
//! | XSS by what comes with a sign-in | `a_refusal_of_the_ehr_is_shown_without_its_words`, `what_an_ehr_says_of_a_launch_is_shown_as_words` |
//! | formula in a file for a spreadsheet | `a_file_holds_no_formula_and_lists_beside_each_other_have_their_own` |
//! | patient switch | `a_second_launch_keeps_the_first_page_its_own_patient`, `each_of_two_tabs_acts_on_its_own_patient`, `another_patients_step_is_not_touched` |
//! | another EHR's record of the same person | `a_launched_page_shows_the_record_that_was_asked_for_and_nothing_of_another_ehrs`, `nothing_is_done_to_what_is_not_shown` |
//! | what the EHR hides from its user | `a_patient_that_the_ehr_hides_is_not_shown`, `where_the_ehr_does_not_answer_nothing_is_shown` |
//! | role escalation | `a_form_makes_nobody_more_than_they_are`, `every_staff_route_lets_exactly_the_roles_of_the_table_in`, `who_may_not_act_is_refused_and_sees_no_button`, `every_cell_of_the_table_is_as_written_here` |
//! | a grant that is left behind | `a_session_that_ran_out_is_swept_and_its_grant_is_given_back`, `a_grant_whose_opening_never_came_is_given_back` |
//! | secrets read from the database | `nothing_that_opens_a_door_is_stored_in_clear` |
//! | huge bodies and queries | `bodies_and_queries_have_limits` |

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

/// The table above names tests that are there.
#[test]
fn each_attack_of_the_table_has_its_test() {
    fn sources(folder: &std::path::Path, all: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, all);
            } else if path.extension().is_some_and(|e| e == "rs") {
                all.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    sources(&root.join("tests"), &mut all);
    sources(&root.join("src"), &mut all);
    let rows: Vec<&str> =
        include_str!("attacks.rs").lines().filter(|l| l.starts_with("//! | ") && !l.starts_with("//! | attack")).collect();
    assert!(rows.len() > 20, "{}", rows.len());
    for name in rows.iter().flat_map(|row| row.split('`').skip(1).step_by(2)) {
        assert!(all.contains(&format!("fn {name}(")), "{name} is no test");
    }
}

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
    // Whoever signs out in the frame is told so there, by a page that does nothing either.
    let out = nobody.in_frame("/signin").await;
    assert!(out.status == 200 && out.body.contains("You are signed out") && !out.body.contains("<form"), "{}", out.body);
    assert!(framed(&out).0.ends_with("https://second.example.org:8443"), "{:?}", framed(&out));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_cookie_is_nobodys_session() {
    let world = world().await;
    let (mut victim, mut attacker) = (world.browser(), world.browser());
    let context = || LaunchContext::of(&patient(&world, 0));
    // A value that was made up, and the cookie of the attacker's own session.
    victim.cookies.insert("engage".to_owned(), "planted".to_owned());
    let path = world.launched(&mut victim, context()).await.lands_at();
    assert_ne!(victim.cookies["engage"], "planted");
    let planted = async |value: &str| {
        let mut browser = world.browser();
        browser.cookies.insert("engage".to_owned(), value.to_owned());
        browser.page(&path).await.status
    };
    assert_eq!(planted("planted").await, 303, "it names no session");
    world.ehr.sit_down(User { subject: "user-2".to_owned(), name: "Mallory".to_owned(), fhir_user: "Practitioner/prac-02".to_owned() });
    world.launched(&mut attacker, context()).await.lands_at();
    let own = attacker.cookies["engage"].clone();
    world.ehr.sit_down(User { subject: "user-1".to_owned(), name: "Victim".to_owned(), fhir_user: "Practitioner/prac-01".to_owned() });
    let mut victim = world.browser();
    victim.cookies.insert("engage".to_owned(), own.clone());
    let path = world.launched(&mut victim, context()).await.lands_at();
    assert_ne!(victim.cookies["engage"], own);
    let mut browser = world.browser();
    browser.cookies.insert("engage".to_owned(), own);
    assert_eq!(browser.page(&path).await.status, 303, "the attacker is not in the victim's session, and out of their own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_an_address_leads_nowhere_else() {
    let world = world().await;
    let mut browser = world.browser();
    let path = world.launched(&mut browser, LaunchContext::of(&patient(&world, 0))).await.lands_at();
    let handle = path.strip_prefix("/l/").unwrap().to_owned();
    for odd in [
        "..",
        "%2e%2e",
        "..%2f..%2fsignout",
        "%2e%2e%2fhealthz",
        "%00",
        "%0d%0aSet-Cookie:%20x=1",
        "'%20OR%201=1--",
        &format!("{handle}%00"),
        &format!("{handle}%20"),
        &handle.to_uppercase().replace('-', "_"),
        &"A".repeat(4_000),
    ] {
        let answer = browser.page(&format!("/l/{odd}")).await;
        assert!((400..500).contains(&answer.status), "{odd}: {} {}", answer.status, answer.body);
        assert!(!answer.headers.contains_key("set-cookie") && !answer.body.contains("OR 1=1"), "{odd}: {:?}", answer.headers);
    }
    for odd in ["north%0d%0aX-Evil:%201", "..", "%2e%2e%2fl", "north%2f..%2f..", "north%00", "%3Cscript%3E"] {
        let answer = browser.page(&format!("/launch/{odd}")).await;
        assert!((400..500).contains(&answer.status) && !answer.headers.contains_key("x-evil"), "{odd}: {:?}", answer.headers);
        assert!(!answer.body.contains("<script>"), "{odd}");
    }
    assert_eq!(browser.page(&path).await.status, 200, "none of that ended what is open");
    // An EHR cannot be given a name that would be more than a name in an address, a header or a path.
    for name in ["a/b", "..", "a\r\nb", "a b", "<b>", "", "a\0", "\u{e9}"] {
        assert!(domain::model::EhrId::parse(name).is_err(), "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_ehr_says_of_a_launch_is_shown_as_words() {
    const WORDS: &str = "\"><script>alert(1)</script><img src=x onerror=alert(2)>";
    let staff = "roles = [\"Practitioner = clinician, operator, auditor\"]";
    let world = World::configured(Database::fresh(Backend::Sqlite).unwrap(), Kind::Public, staff).await;
    world.ehr.sit_down(User { subject: format!("s{WORDS}"), name: format!("Kim{WORDS}"), fhir_user: "Practitioner/prac-01".to_owned() });
    let mut browser = world.browser();
    let context = LaunchContext {
        intent: Some(WORDS.to_owned()),
        tenant: Some(WORDS.to_owned()),
        fhir_context: vec![serde_json::json!({ "reference": format!("Appointment/{WORDS}") })],
        ..LaunchContext::of(&patient(&world, 0))
    };
    let path = world.launched(&mut browser, context).await.lands_at();
    let mut shown = 0;
    for page in [path.as_str(), "/", "/audit", "/connections", "/signin"] {
        let answer = browser.page(page).await;
        assert_eq!(answer.status, 200, "{page}: {}", answer.body);
        assert!(!answer.body.contains("<script>") && !answer.body.contains("<img"), "{page}: {}", answer.body);
        shown += usize::from(answer.body.contains("&#60;script&#62;alert(1)"));
    }
    assert!(shown >= 3, "it was shown, as text: {shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_makes_nobody_more_than_they_are() {
    let staff = "roles = [\"Practitioner = front-desk\"]";
    let world = World::configured(Database::fresh(Backend::Sqlite).unwrap(), Kind::Public, staff).await;
    let mut browser = world.browser();
    let path = world.launched(&mut browser, LaunchContext::of(&patient(&world, 0))).await.lands_at();
    let csrf = world.lines("SELECT csrf AS line FROM session").remove(0);
    let more =
        [("csrf", csrf.as_str()), ("roles", "operator,auditor"), ("role", "operator"), ("ehr", "north"), ("on", "true"), ("why", "x")];
    for (page, status) in [("/outreach/live", 403), ("/connections/run", 403), ("/audit/verify", 403), ("/segments/back", 403)] {
        assert_eq!(browser.sends(page, &more).await.status, status, "{page}");
    }
    for page in ["/audit", "/connections", "/segments"] {
        assert_eq!(browser.page(&format!("{page}?roles=auditor")).await.status, 403, "{page}");
    }
    assert_eq!(world.lines("SELECT roles AS line FROM session"), ["front-desk"]);
    assert_eq!(world.opening(&path).unwrap().roles, "front-desk");
    assert!(!world.app.is_live().await.unwrap());
}
