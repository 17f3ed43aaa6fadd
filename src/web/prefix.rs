//! A path below which others reach this server, where `web.external_url` has one: `https://apps.example.org/engage`.
//!
//! Pages, forms and redirects name our own paths from the root, and know of no prefix; it is put before them here, on their way out, so that no page can
//! forget it. On the way in it is taken off again: some proxies leave it where it is, others take it off themselves.

use actix_web::body::{BoxBody, to_bytes};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Uri;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{Error, web};
use url::Url;

use super::Served;

/// The attributes of our pages that hold an address, as templates write them. What others wrote has its quotes escaped, so it cannot look so.
const ADDRESSES: [&str; 5] = [" href=\"", " src=\"", " action=\"", " formaction=\"", " data-live=\""];

/// The prefix, without a slash at its end; `None` where there is none.
pub(super) fn of(request: &ServiceRequest) -> Option<String> {
    request.app_data::<web::Data<Served>>().and_then(|served| in_url(served.given.external.as_ref()?))
}

fn in_url(external: &Url) -> Option<String> {
    let path = external.path().trim_end_matches('/');
    (!path.is_empty()).then(|| path.to_owned())
}

/// Takes the prefix off a path that is none of ours with it.
pub(super) fn take_off(request: &mut ServiceRequest, prefix: &str) {
    if request.match_pattern().is_some() {
        return;
    }
    let Some(uri) = without(request.uri(), prefix) else { return };
    request.match_info_mut().get_mut().update(&uri);
    request.head_mut().uri = uri;
}

fn without(uri: &Uri, prefix: &str) -> Option<Uri> {
    let rest = uri.path().strip_prefix(prefix)?;
    let path = match rest {
        "" => "/",
        below if below.starts_with('/') => below,
        _ => return None,
    };
    let target = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Puts the prefix before our own paths: where a browser is sent, and in a page.
pub(super) async fn put_on(response: ServiceResponse<BoxBody>, prefix: &str) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut response = response;
    let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).filter(|to| is_own(to));
    if let Some(to) = to.and_then(|to| HeaderValue::from_str(&format!("{prefix}{to}")).ok()) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("text/html")) {
        return Ok(response);
    }
    let (request, answer) = response.into_parts();
    let (answer, body) = answer.into_parts();
    let page = to_bytes(body).await.map_err(actix_web::error::ErrorInternalServerError)?;
    let page = match std::str::from_utf8(&page) {
        Ok(text) => BoxBody::new(in_page(text, prefix)),
        Err(_) => BoxBody::new(page),
    };
    Ok(ServiceResponse::new(request, answer.set_body(page)))
}

/// A path from the root, and no address of another host.
fn is_own(address: &str) -> bool {
    address.starts_with('/') && !address.starts_with("//")
}

fn in_page(text: &str, prefix: &str) -> String {
    let mut page = String::with_capacity(text.len() + 64 * prefix.len());
    let mut rest = text;
    while let Some(at) = rest.find("=\"/") {
        // The slash belongs to the address.
        let (before, address) = rest.split_at(at + 2);
        page.push_str(before);
        if is_own(address) && ADDRESSES.iter().any(|name| before.ends_with(name)) {
            page.push_str(prefix);
        }
        rest = address;
    }
    page.push_str(rest);
    page
}

#[cfg(test)]
mod tests {
    use super::{in_page, in_url, without};
    use url::Url;

    #[test]
    fn the_prefix_is_the_path_of_the_external_url() {
        for (url, prefix) in [
            ("https://e.org", None),
            ("https://e.org/", None),
            ("https://e.org/engage", Some("/engage")),
            ("https://e.org/a/b/", Some("/a/b")),
        ] {
            assert_eq!(in_url(&Url::parse(url).unwrap()).as_deref(), prefix, "{url}");
        }
    }

    #[test]
    fn it_is_taken_off_whole_segments_only() {
        for (path, rest) in [
            ("/engage", Some("/")),
            ("/engage/", Some("/")),
            ("/engage/l/x?did=sent", Some("/l/x?did=sent")),
            ("/engaged", None),
            ("/l/engage", None),
        ] {
            assert_eq!(without(&path.parse().unwrap(), "/engage").map(|uri| uri.to_string()).as_deref(), rest, "{path}");
        }
    }

    #[test]
    fn our_own_addresses_get_it_and_nothing_else_does() {
        let page = r#"<a class="x" href="/l/1">a</a><a href="/">b</a><a href="https://e.org/">c</a><a href="//e.org">d</a><a href="?page=2">e</a>
            <form method="post" action="/signin/once"><button formaction="/x"></button></form><script src="/assets/s.js"></script>
            <div data-live="/connections/now" data-path="/kept">text: =&#34;/</div><p title="/kept">"#;
        let made = in_page(page, "/engage");
        for has in [
            r#"href="/engage/l/1""#,
            r#"href="/engage/""#,
            r#"href="https://e.org/""#,
            r#"href="//e.org""#,
            r#"href="?page=2""#,
            r#"action="/engage/signin/once""#,
            r#"formaction="/engage/x""#,
            r#"src="/engage/assets/s.js""#,
            r#"data-live="/engage/connections/now""#,
            r#"data-path="/kept""#,
            r#"title="/kept""#,
            "text: =&#34;/",
        ] {
            assert!(made.contains(has), "{has}: {made}");
        }
        assert_eq!(made.replace("/engage", ""), page);
    }
}
