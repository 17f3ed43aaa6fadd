//! A hand-written server on loopback, so that each answer is exactly the bytes that the test says.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::net::failure::CertificateFault;

type Seen = Arc<Mutex<Vec<String>>>;

/// Answers each connection with `answer(path)` and keeps what was asked, headers included.
async fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> (Url, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let seen = Seen::default();
    let log = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = vec![0; 16 * 1024];
            let n = socket.read(&mut buffer).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            let path = text.split(' ').nth(1).unwrap_or("").to_owned();
            log.lock().unwrap().push(text);
            let _ = socket.write_all(&answer(&path)).await;
        }
    });
    (base, seen)
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

fn moved(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
}

fn client(urls: &[&Url]) -> Http {
    Http::new(Peer::at(urls.iter().filter_map(|u| Origin::of(u)).collect())).unwrap()
}

fn kind(result: Result<Response, Failure>) -> FailureKind {
    result.unwrap_err().kind
}

#[tokio::test]
async fn a_redirect_stays_within_the_registered_origins_and_the_token_with_its_own() {
    let (other, other_saw) = serve(|_| ok("there")).await;
    let target = other.clone();
    let (base, saw) = serve(move |path| if path == "/a" { moved(target.as_str()) } else { ok("here") }).await;
    let ask = Request::get(base.join("a").unwrap()).bearer(Secret::new("t0k3n"), Origin::of(&base).unwrap());

    let refused = client(&[&base]).send(ask.clone()).await.unwrap_err();
    assert!(matches!(refused.kind, FailureKind::OtherOrigin(_)), "{refused}");
    assert!(other_saw.lock().unwrap().is_empty(), "an unregistered origin was contacted");

    let answer = client(&[&base, &other]).send(ask).await.unwrap();
    assert_eq!(answer.body, b"there");
    assert!(saw.lock().unwrap()[0].contains("Bearer t0k3n"));
    assert!(!other_saw.lock().unwrap()[0].to_lowercase().contains("authorization"), "the token went to another origin");
}

#[tokio::test]
async fn a_write_is_not_redirected_and_a_loop_ends() {
    let (base, saw) = serve(|_| moved("/again")).await;
    let http = client(&[&base]);
    let answer = http.send(Request::post(base.clone(), "application/json", b"{}".to_vec())).await.unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(saw.lock().unwrap().len(), 1);
    assert_eq!(kind(http.send(Request::get(base)).await), FailureKind::TooManyRedirects);
    assert_eq!(saw.lock().unwrap().len(), 1 + MAX_REDIRECTS + 1);
}

#[tokio::test]
async fn a_question_with_a_body_is_sent_on_whole_within_its_origin_or_not_at_all() {
    let sent_on = |status: u16, to: &str| {
        format!("HTTP/1.1 {status} Elsewhere\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
    };
    let (other, other_saw) = serve(|_| ok("there")).await;
    let target = other.clone();
    let (base, saw) = serve(move |path| match path {
        "/307" => sent_on(307, "/found"),
        "/308" => sent_on(308, "found"),
        "/302" => sent_on(302, "/found"),
        "/303" => sent_on(303, "/found"),
        "/elsewhere" => sent_on(307, target.as_str()),
        _ => ok("found"),
    })
    .await;
    // Both may be talked to.
    let http = client(&[&base, &other]);
    let ask = |path: &str| Request::post(base.join(path).unwrap(), "application/x-www-form-urlencoded", b"name=Ada".to_vec());
    for path in ["307", "308"] {
        let answer = http.send(ask(path).only_asking()).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.as_slice()), (200, b"found".as_slice()), "{path}");
        let asked = saw.lock().unwrap().pop().unwrap();
        assert!(asked.starts_with("POST /found ") && asked.ends_with("name=Ada"), "{asked}");
    }
    saw.lock().unwrap().clear();
    for (path, status) in [("302", 302), ("303", 303), ("elsewhere", 307)] {
        assert_eq!(http.send(ask(path).only_asking()).await.unwrap().status, status, "{path}");
    }
    assert_eq!(http.send(ask("307")).await.unwrap().status, 307, "what may change something is never sent on");
    assert_eq!((saw.lock().unwrap().len(), other_saw.lock().unwrap().len()), (4, 0));
}

#[tokio::test]
async fn a_body_is_limited_whether_announced_or_not() {
    let (base, _) = serve(|path| match path {
        "/announced" => ok(&"x".repeat(2000)),
        _ => format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(2000)).into_bytes(),
    })
    .await;
    let mut peer = Peer::at(vec![Origin::of(&base).unwrap()]);
    peer.body_limit = 1000;
    let http = Http::new(peer).unwrap();
    for path in ["announced", "streamed"] {
        assert_eq!(kind(http.send(Request::get(base.join(path).unwrap())).await), FailureKind::BodyTooLarge { limit: 1000 });
    }
}

#[tokio::test]
async fn failures_are_told_apart_and_hold_no_path() {
    let (base, _) = serve(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this".to_vec()).await;
    let cut = client(&[&base]).send(Request::get(base.join("Patient/secret?name=Ada").unwrap())).await.unwrap_err();
    assert_eq!(cut.kind, FailureKind::Reset);
    assert!(!cut.never_sent() && cut.is_transient());

    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Url::parse(&format!("http://{}/Patient/secret?name=Ada", listener.local_addr().unwrap())).unwrap()
    };
    let refused = client(&[&closed]).send(Request::get(closed)).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refused);
    assert!(refused.never_sent());

    let name = Url::parse("https://no-such-host.invalid/Patient/secret?name=Ada").unwrap();
    let unknown = client(&[&name]).send(Request::get(name)).await.unwrap_err();
    assert_eq!(unknown.kind, FailureKind::Dns);

    let plain = Url::parse("http://192.0.2.1/Patient/secret?name=Ada").unwrap();
    let plain = client(&[&plain]).send(Request::get(plain)).await.unwrap_err();
    assert_eq!(plain.kind, FailureKind::PlainText);

    for failure in [cut, refused, unknown, plain] {
        let mut text = failure.to_string();
        let mut cause = std::error::Error::source(&failure);
        while let Some(inner) = cause {
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        assert!(!text.contains("secret") && !text.contains("Ada"), "{text}");
    }
}

#[tokio::test]
async fn slow_answers_end_at_the_time_allowed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let mut peer = Peer::at(vec![Origin::of(&base).unwrap()]);
    peer.timeout = Duration::from_millis(100);
    assert_eq!(kind(Http::new(peer).unwrap().send(Request::get(base)).await), FailureKind::Timeout);
}

#[tokio::test]
async fn a_port_that_does_not_speak_tls_is_told_from_a_bad_certificate() {
    let (base, _) = serve(|_| ok("plain")).await;
    let url = Url::parse(&base.as_str().replace("http:", "https:")).unwrap();
    assert_eq!(kind(client(&[&url]).send(Request::get(url)).await), FailureKind::Tls);
    assert!(FailureKind::Certificate(CertificateFault::UnknownIssuer).to_string().contains("extra CA"));
}

#[test]
fn an_extra_ca_without_certificates_is_refused() {
    let url = Url::parse("https://ehr.example.org/").unwrap();
    let mut peer = Peer::at(vec![Origin::of(&url).unwrap()]);
    peer.extra_ca = Some(b"not a certificate".to_vec());
    assert!(matches!(Http::new(peer), Err(SetupError::ExtraCa(_))));
}
