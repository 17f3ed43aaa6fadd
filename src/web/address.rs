//! Our own address, as browsers reach it, and which paths are ours.

use actix_web::HttpRequest;
use actix_web::http::header;
use url::Url;

use super::Served;

/// The address of one of our paths: under the configured URL; without one under the host that the browser names, where that is this machine. A
/// host that a request makes up must not become a redirect address.
pub(super) fn own(request: &HttpRequest, served: &Served, path: &str) -> Option<Url> {
    let base = match &served.given.external {
        Some(url) => url.clone(),
        None => {
            let host = request.headers().get(header::HOST)?.to_str().ok()?;
            Url::parse(&format!("http://{host}/")).ok().filter(is_loopback)?
        }
    };
    Url::parse(&format!("{}{path}", base.as_str().trim_end_matches('/'))).ok()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// A path of ours to go to, where a text is one and leads nowhere else.
pub(super) fn local(text: &str) -> Option<String> {
    let plain = text.starts_with('/') && text.len() <= 512 && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let base = Url::parse("http://here.invalid/").ok()?;
    // As a browser would read it: `//host` and what normalises to it lead elsewhere.
    let there = base.join(text).ok().filter(|_| plain)?;
    (there.origin() == base.origin() && !there.path().starts_with("//")).then(|| there.path().to_owned())
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn only_paths_of_ours_are_local() {
        for (text, path) in [("/", "/"), ("/l/abc", "/l/abc"), ("/segments/x?y=1#z", "/segments/x"), ("/a/../b", "/b")] {
            assert_eq!(local(text).as_deref(), Some(path), "{text}");
        }
        for text in [
            "",
            "x",
            "//evil.example.org",
            "/\\evil.example.org",
            "\\\\evil",
            "https://evil.example.org/",
            "/%0a\n",
            "/\t/evil",
            "///evil",
            "/x/..//evil.example.org",
            "javascript:alert(1)",
            "/é",
        ] {
            assert_eq!(local(text), None, "{text}");
        }
    }
}
