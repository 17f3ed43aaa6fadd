//! Every page, as it looks: no fault that axe-core calls serious, nothing asked of anybody else, light enough, and wide enough for its words.

use domain::model::Role::{self, CareManager};
use serde_json::json;

use super::{WIDTHS, address, sign_in};
use crate::patient::world::World;
use crate::support::{Backend, Browser, Database, Theme};

/// Looks at a page in both themes and widths; what is wrong with it, a line each.
fn look(browser: &Browser, name: &str, url: &str, own: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for theme in [Theme::Light, Theme::Dark] {
        for width in WIDTHS {
            browser.look(width, theme);
            let _ = (browser.requests(), browser.console());
            browser.go(url);
            let mut says = |what: String| wrong.push(format!("{name} {theme:?} {width}: {what}"));
            let asked = browser.requests();
            asked.iter().filter(|url| !url.starts_with(own) && !url.starts_with("data:")).for_each(|url| says(format!("asks {url}")));
            let parts = "return ['navigation', 'resource'].flatMap(k => performance.getEntriesByType(k)).reduce((n, e) => n + e.decodedBodySize, 0)";
            let weight = browser.run(parts, &[]).as_u64().unwrap();
            if weight >= 100_000 || weight == 0 {
                says(format!("weighs {weight} bytes"));
            }
            // A page that says that something is not there is answered with 404.
            let expected = |line: &String| line.contains("favicon") || (name == "not-open" && line.contains("status of 404"));
            browser.console().into_iter().filter(|line| !expected(line)).for_each(|line| says(format!("console: {line}")));
            browser.faults().into_iter().for_each(&mut says);
            let over = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth", &[]);
            if over != json!(0) {
                says(format!("is {over} pixels too wide"));
            }
            // What is folded is looked at, too.
            browser.run("document.querySelectorAll('details').forEach(d => { d.open = true; })", &[]);
            browser.faults().into_iter().for_each(|f| says(format!("unfolded: {f}")));
            browser.picture(&format!("{name}-{width}-{}", if theme == Theme::Dark { "dark" } else { "light" }));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_looks_right_in_both_themes_narrow_and_wide() {
    let Some(browser) = Browser::start() else { return };
    let world = World::new(Database::fresh(Backend::Sqlite).unwrap()).await;
    let open = world.open(&Role::ALL, "ann").await;
    let stranger = world.open_for(open.staff.clone(), &Role::ALL, "nobody-yet").await;
    world
        .post(&open, "/contact", &[("key", "c"), ("went", "spoke"), ("said", "confirm"), ("barrier", "transport"), ("note", "Has no car.")])
        .await;
    world.post(&open, "/preference", &[("key", "p"), ("about", "program:check-up"), ("wish", "none")]).await;
    world.cycle().await;
    browser.go(&world.address());
    sign_in(&browser, &world, &open);
    let page = address(&world, &open);
    let attempt = world.db.lines("SELECT id AS line FROM attempt ORDER BY id").remove(0);
    let at = |path: &str| format!("{}{path}", world.address());
    let mut wrong = Vec::new();
    for (name, url) in [
        ("patient", page.clone()),
        ("patient-said", format!("{page}?did=recorded")),
        ("patient-new", address(&world, &stranger)),
        ("message", format!("{page}/message?template=visit-confirm&channel=recorded")),
        ("patient-why", format!("{page}/segments")),
        ("overview", at("/")),
        ("connections", at("/connections")),
        ("connection", at("/connections/north")),
        ("runs", at("/runs")),
        ("alerts", at("/alerts")),
        ("quarantine", at("/quarantine")),
        ("segments", at("/segments")),
        ("segment", at("/segments/visit-unconfirmed")),
        ("members", at("/segments/visit-unconfirmed/members")),
        ("plan", at("/segments/plan")),
        ("outreach", at("/outreach")),
        ("attempts", at("/attempts?state=any")),
        ("attempt", at(&format!("/attempts/{attempt}"))),
        ("work", at("/work")),
        ("writeback", at("/writeback")),
        ("writebacks", at("/writebacks")),
        ("patients", at("/patients")),
        ("audit", at("/audit")),
        ("not-open", at("/l/AAAAAAAAAAAAAAAAAAAAAA")),
    ] {
        wrong.extend(look(&browser, name, &url, &world.address()));
    }
    // What is asked for by a form stands under a handle of its own.
    browser.look(400, Theme::Light);
    browser.go(&at("/audit"));
    browser.keys(&browser.find("form[action='/audit'] input[name=id]"), "ann");
    browser.click(&browser.find("form[action='/audit'] button"));
    browser.until("the rows of one patient", "return location.pathname.startsWith('/audit/')");
    wrong.extend(look(&browser, "audit-of-one", &browser.url(), &world.address()));
    // Signed out.
    browser.cdp("Network.clearBrowserCookies", json!({}));
    wrong.extend(look(&browser, "signin", &at("/signin"), &world.address()));
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_on_a_page_can_be_reached_by_keyboard_and_shows_where_one_is() {
    let Some(browser) = Browser::start() else { return };
    let world = World::new(Database::fresh(Backend::Sqlite).unwrap()).await;
    let open = world.open(&[CareManager], "ann").await;
    browser.go(&world.address());
    sign_in(&browser, &world, &open);
    browser.look(1400, Theme::Light);
    browser.go(&address(&world, &open));
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true; })", &[]);
    let all = "const seen = e => e.getClientRects().length > 0;
        window.wanted = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')].filter(seen);
        return window.wanted.length";
    let wanted = browser.run(all, &[]).as_u64().unwrap();
    assert!(wanted > 15, "{wanted}");
    let mut without_outline = Vec::new();
    // A radio group is one stop, a date field several: so many presses reach everything.
    for _ in 0..wanted * 4 {
        browser.press("\u{e004}");
        let at = "const e = document.activeElement; window.got = window.got || new Set(); window.got.add(e);
            const s = getComputedStyle(e); return [e.outerHTML.slice(0, 120), s.outlineStyle, e === document.body]";
        let found = browser.run(at, &[]);
        if found[2] == json!(false) && found[1] == json!("none") {
            without_outline.push(found[0].to_string());
        }
    }
    let missed = "const named = new Set([...window.got].map(e => e.name).filter(Boolean));
        return window.wanted.filter(e => !window.got.has(e) && !(e.type === 'radio' && named.has(e.name))).map(e => e.outerHTML.slice(0, 120))";
    assert_eq!(browser.run(missed, &[]), json!([]), "cannot be reached");
    assert!(without_outline.is_empty(), "no focus is seen on {without_outline:#?}");
}
