//! The overview page: what it says, and that its markup keeps what the style sheet and assistive technology rely on.

use domain::model::Role;

use super::fixture::{Server, fill};
use crate::support::{Backend, Database, on_both};

/// The text of a page, one line for each block, as a reader gets it.
fn text(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html.split_once("<body>").unwrap().1;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(&before.split_whitespace().collect::<Vec<_>>().join(" "));
        let (tag, after) = after.split_once('>').unwrap();
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap();
        if tag.starts_with('/') && matches!(name, "p" | "h1" | "h2" | "tr" | "caption" | "div" | "li" | "form" | "label" | "nav") {
            out.push('\n');
        } else if tag.starts_with('/') && matches!(name, "td" | "th" | "dt") {
            out.push_str(" | ");
        } else if matches!(tag, "header" | "footer") {
            out.push('\n');
        } else if !tag.starts_with('/') && matches!(name, "time" | "span" | "code" | "a" | "option") {
            out.push(' ');
        }
        rest = after;
    }
    let lines = out.lines().map(|l| l.trim().trim_end_matches(" |").split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n")
}

on_both! {
    async fn the_page_says_how_the_last_runs_went(db) {
        fill(&db.store());
        let server = Server::start(&db.store());
        let page = server.get_as(&[Role::Operator], "/").await;
        assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
        let expected = include_str!("overview.txt").trim_end();
        let found = text(&page.body).replace('\u{202f}', " ");
        assert_eq!(found, expected, "\n--- found ---\n{found}\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_gateway_says_what_to_do() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let page = Server::start(&db.store()).get_as(&[Role::Operator], "/").await;
    let found = text(&page.body);
    assert!(found.contains("Nothing was synced yet") && found.contains("fhir-engage ehr add"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_markup_is_escaped_self_contained_and_labelled() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    fill(&db.store());
    let server = Server::start(&db.store());
    let html = server.get_as(&[Role::Operator], "/").await.body;
    assert!(html.contains("Maple &#60;Street&#62; Clinic"), "a name was not escaped");
    let (sheet, html) = taken_out(&html);
    let (before, script) = html.split_once("<script src=\"/assets/script-").unwrap();
    let (name, after) = script.split_once(".js\" defer></script>").unwrap();
    assert!(name.len() == 16 && name.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
    let html = format!("{before}{after}");
    for banned in ["<script", "style=\"", "<style", "<link", " on", "http://", "https://", "<img", "<iframe"] {
        let found = html.split(banned).count() - 1;
        let allowed =
            if banned == " on" { html.matches(" on ").count() + html.matches(" only").count() + html.matches(" one").count() } else { 0 };
        assert_eq!(found, allowed, "{banned}");
    }
    assert_eq!(html.matches("<table").count(), html.matches("<caption>").count());
    assert_eq!(html.matches("<th ").count(), html.matches("scope=\"col\"").count() + html.matches("scope=\"row\"").count());
    assert_eq!(html.matches("<h1").count(), 1);
    for id in html.split("aria-labelledby=\"").skip(1).map(|s| s.split('"').next().unwrap()) {
        assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
    }
    assert!(sheet.contains("prefers-color-scheme: dark") && !sheet.contains("url(") && !sheet.contains("@import"));
    assert!(html.len() + sheet.len() < 100_000, "page weight");
}

/// The one style sheet of a page, and the page without it.
fn taken_out(html: &str) -> (String, String) {
    let (before, rest) = html.split_once("<style>").unwrap();
    let (sheet, after) = rest.split_once("</style>").unwrap();
    (sheet.to_owned(), format!("{before}{after}"))
}

/// CSP Level 3, "Usage of hash sources": a browser hashes what stands between the tags, to the byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_style_sheet_in_the_page_is_the_one_that_the_policy_allows() {
    use base64::Engine as _;
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let page = Server::start(&db.store()).get_as(&[Role::Operator], "/").await;
    let (sheet, _) = taken_out(&page.body);
    let hash = base64::engine::general_purpose::STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, sheet.as_bytes()));
    let policy = &page.headers["content-security-policy"];
    let styles: Vec<&str> = policy.split("; ").filter(|d| d.starts_with("style-src")).collect();
    assert_eq!(styles, [format!("style-src 'sha256-{hash}'")], "{policy}");
    assert!(policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
}
